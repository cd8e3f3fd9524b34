# The report on all that stands between this process and a token, which can be pasted into a ticket.

#' Report on all that a token depends on
#'
#' `azure_sitrep()` goes through everything that a token depends on: where this process runs and how
#' that was found, its server and whether it answers, the session's cookie, the clocks, certificates and
#' proxy. Pass the resources that you need to see whether you get tokens for them.
#'
#' No fault of the set-up is an error here: each is a line of the report, with what to do about it.
#'
#' The server is asked for a page without the cookie, to see that it is there, and then once for a token
#' for each resource, unless what was found before tells that none would come. Each of these questions
#' ends after `entrar.timeout` (see [entrar-options]). The tokens are dropped at once.
#'
#' @section Safe to share:
#' There is no token, no cookie and no password in the result or in the report, which hold the names of
#' your server, of files, variables and resources, and your account and tenant where a token tells them. Read it
#' before you post it.
#'
#' @param resources The Azure services to ask for, a character vector of what [getDelegatedAzureToken()]
#'   takes; or `NULL` to ask for no token.
#'
#' @return A list of class `entrar_sitrep`, `NA` or `NULL` where something is not known or not asked. Its
#'   `format()` is the report as plain text; printing it to a terminal adds colour. Times are Unix seconds.
#'   * `time`: when the report was made. `started`: when this R process was.
#'   * `versions`: of entrar and of R, and R's `platform`.
#'   * `timeout`: the `seconds` that a question may take, or the `fault` of the setting.
#'   * `place`: its `name`, one of `"workbench"`, `"agent"`, `"hub"`, `"server"` (which does not say which of them it
#'     is), `"ide"`, `"connect"` and `"none"`; what it was `found` by; the `failure` if there is no session.
#'   * `server`: `address`, `in_clear` (whether others can read what is sent), `version` and
#'     `version_failure`, `reachable`, `status`, `milliseconds`, and the `failure` to reach it.
#'   * `cookies`: for the file and the variable each `place`, `named`, `fault`, `expires_at`, `expired` and
#'     `sent`, whether it is the one to be sent. `cookie_failure`: why none can be.
#'   * `clock_skew`: how many seconds the server's clock is ahead of this machine's.
#'   * `https`: whether the address is of https.
#'   * `bundle`: the CA bundle's `variable`, `path`, number of `certificates`, `faults` (what in it cannot be read) and
#'     `failure`.
#'   * `proxy`: the `variable` that names it, its `address` (or the `failure` to understand it), whether it `applies` to
#'     the server and the `exception` if it does not.
#'   * `hub`: in a session of a hub whose socket is on this machine, as whom the hub knows this process: the local `user`, the
#'     `machine`, its `page`, the `account` and `tenant` that are signed in, `since` when; or the `failure`.
#'   * `connect`: on Posit Connect, which of its variables are set, a logical vector with their names.
#'   * `resources`: for each, as it was `asked` for, the `resource`, whether the server `was_asked` and has
#'     `granted` a token, with its `scopes`, `expires_at` and `lifetime` in seconds, and what the token tells of
#'     itself, which nobody has verified: `account`, `tenant` and `audience`; or the `failure`.
#'   * `git`: its version, the names of credential helpers, and whether it is set up for Azure DevOps; [azure_git_sitrep()] tells more.
#'
#'   A `failure` has the `message` and the fields that an error would have; see [entrar-errors].
#'
#' @examples
#' azure_sitrep()
#'
#' \dontrun{
#' azure_sitrep(c("storage", "https://vault.azure.net"))
#' writeLines(format(azure_sitrep("graph")), "report.txt")
#' }
#' @export
azure_sitrep <- function(resources = NULL) {
  if (!is.null(resources) && !is.character(resources)) {
    stop("`resources` must be a character vector, or NULL.")
  }
  now <- as.numeric(Sys.time())
  timeout <- sitrep_timeout()
  session <- session_report(!is.null(ide_function()))
  place <- sitrep_place(session)
  probe <- if (!is.na(session$address)) unless_interrupted(probe_server(timeout$seconds))
  server <- sitrep_server(session, probe)
  cookie_failure <- sitrep_failure(session$cookie_failure)
  structure(
    class = "entrar_sitrep",
    list(
      time = now,
      started = now - proc.time()[["elapsed"]],
      versions = list(
        entrar = as.character(utils::packageVersion("entrar")),
        R = as.character(getRversion()),
        platform = R.version$platform
      ),
      timeout = timeout,
      place = place,
      server = server,
      cookies = session$cookies,
      cookie_failure = cookie_failure,
      clock_skew = if (is.null(probe$answer)) NA_real_ else probe$answer$clock_skew,
      https = if (is.null(session$way)) NA else session$way$https,
      bundle = sitrep_bundle(session$way$bundle),
      proxy = sitrep_proxy(session$way$proxy),
      hub = sitrep_hub(place, timeout$seconds),
      connect = sitrep_connect(place),
      resources = lapply(
        resources,
        sitrep_resource,
        timeout = timeout$seconds,
        obstacle = sitrep_obstacle(place, server, cookie_failure)
      ),
      git = tryCatch(git_set_up(), error = function(e) NULL)
    )
  )
}

#' @export
format.entrar_sitrep <- function(x, ...) {
  sitrep_text(x, plain_marks)
}

#' @export
print.entrar_sitrep <- function(x, ...) {
  marks <- if (l10n_info()$`UTF-8`) drawn_marks else plain_marks
  writeLines(sitrep_text(x, marks, if (has_colour()) mark_colours))
  invisible(x)
}

# How a line begins: with what is well, what is only to be known, and what stands in the way.
plain_marks <- c(good = "[ok]", note = "[--]", bad = "[!!]")
drawn_marks <- c(good = "\u2714", note = "\u2022", bad = "\u2716")
mark_colours <- c(good = "32", note = "34", bad = "31")

# The conventions of https://no-color.org and of terminals.
has_colour <- function() {
  isatty(stdout()) && !nzchar(Sys.getenv("NO_COLOR")) && !Sys.getenv("TERM") %in% c("", "dumb")
}

sitrep_text <- function(x, marks, colours = NULL) {
  entries <- c(
    entries_of_process(x),
    entries_of_place(x),
    if (x$place$name == "ide" || !is.na(x$server$address) || !is.null(x$server$failure)) {
      c(
        entries_of_server(x),
        entries_of_cookies(x),
        entries_of_clock(x),
        entries_of_bundle(x),
        entries_of_proxy(x)
      )
    },
    entries_of_hub(x$hub),
    entries_of_connect(x$connect),
    lapply(x$resources, entry_of_resource),
    list(entry_of_git(x$git))
  )
  c(paste("<entrar_sitrep>", format_time(x$time)), lines_of(entries, marks, colours))
}

# One fact, with lines below it.
entry <- function(mark, label, text, details = NULL) {
  list(mark = mark, label = label, text = text, details = details)
}

entries_of_process <- function(x) {
  versions <- sprintf(
    "%s, R %s on %s, begun %s",
    x$versions$entrar,
    x$versions$R,
    x$versions$platform,
    format_time(x$started)
  )
  timeout <- sprintf("%s seconds for each question", format(x$timeout$seconds))
  list(
    entry("note", "entrar", versions),
    if (is.na(x$timeout$fault)) {
      entry("note", "Timeout", timeout)
    } else {
      entry("bad", "Timeout", x$timeout$fault, paste("Until then it is", timeout))
    }
  )
}

entries_of_place <- function(x) {
  what <- c(
    workbench = "Posit Workbench",
    server = "a session of Posit Workbench, or of a broker in its place",
    agent = "a session of your own agent",
    hub = "a session of a hub",
    ide = "the RStudio IDE, which has a function of its own for this",
    connect = "Posit Connect",
    none = "neither Posit Workbench nor the RStudio IDE, and nobody is signed in"
  )
  found <- if (length(x$place$found)) {
    paste("found by", paste(x$place$found, collapse = " and "))
  } else {
    "RS_SERVER_ADDRESS is not set"
  }
  mark <- if (is.null(x$place$failure)) "good" else "bad"
  text <- sprintf("%s (%s)", what[[x$place$name]], found)
  list(entry(mark, "Where", text, failure_details(x$place$failure)))
}

entries_of_server <- function(x) {
  server <- x$server
  # The version of agent and hub does not matter.
  version <- list(
    if (x$place$name %in% c("agent", "hub")) {
      NULL
    } else if (!is.null(server$version_failure)) {
      entry("bad", "Version", server$version, failure_details(server$version_failure))
    } else if (is.na(server$version)) {
      entry("note", "Version", "not known (RSTUDIO_VERSION is not set)")
    } else {
      entry("good", "Version", server$version)
    }
  )
  if (x$place$name == "ide") {
    return(c(
      list(entry("note", "Server", "the IDE asks it; its address is not known here")),
      version
    ))
  }
  answered <- if (is.na(server$address)) {
    entry("bad", "Server", "RS_SERVER_ADDRESS is not an address", failure_details(server$failure))
  } else if (!server$reachable) {
    text <- paste0(server$address, ", not reached")
    entry("bad", "Server", text, failure_details(server$failure))
  } else {
    took <- format(max(1, round(server$milliseconds)))
    entry("good", "Server", sprintf("%s, answered in %s ms", server$address, took))
  }
  in_clear <- if (isTRUE(server$in_clear)) {
    entry(
      "bad",
      "Server",
      "asked over plain http",
      c(
        "Others on the network can read your session's cookie and your tokens.",
        "Ask its administrator for an https address."
      )
    )
  }
  Filter(length, c(list(answered, in_clear), version))
}

# An IDE needs no cookie. A place that is not named is worth a line only where no cookie can be sent, and
# the failure tells of it then.
entries_of_cookies <- function(x) {
  if (x$place$name == "ide") {
    return(NULL)
  }
  named <- Filter(function(cookie) cookie$named, x$cookies)
  c(
    lapply(named, entry_of_cookie, now = x$time),
    if (!is.null(x$cookie_failure)) {
      list(entry("bad", "Cookie", "none can be sent", failure_details(x$cookie_failure)))
    }
  )
}

entry_of_cookie <- function(cookie, now) {
  if (!is.na(cookie$fault)) {
    return(entry("note", "Cookie", cookie$fault))
  }
  state <- if (is.na(cookie$expires_at)) {
    "its date cannot be read"
  } else if (cookie$expired) {
    sprintf("expired %s, %s ago", format_time(cookie$expires_at), span(now - cookie$expires_at))
  } else {
    sprintf("until %s, for %s", format_time(cookie$expires_at), span(cookie$expires_at - now))
  }
  mark <- if (cookie$sent) "good" else "note"
  unused <- if (!cookie$sent && !cookie$expired) " (the other is sent)"
  entry(mark, "Cookie", paste0(cookie$place, ", ", state, unused))
}

# Dates on the wire have whole seconds, so a few of them mean nothing; above a minute, what is judged
# here by its date (a cookie) may be judged otherwise there.
entries_of_clock <- function(x) {
  skew <- x$clock_skew
  if (!isTRUE(x$server$reachable)) {
    return(NULL)
  }
  if (is.na(skew)) {
    return(list(entry("note", "Clock", "cannot be compared: the server's reply has no date")))
  }
  if (abs(skew) < 5) {
    return(list(entry("good", "Clock", "agrees with the server's")))
  }
  text <- sprintf("%s %s the server's", span(abs(skew)), if (skew > 0) "behind" else "ahead of")
  if (abs(skew) < 60) {
    return(list(entry("note", "Clock", text)))
  }
  advice <- "Cookies and tokens seem valid for a longer or a shorter time than they are. Set this machine's clock, or ask the administrator to set the server's."
  list(entry("bad", "Clock", text, advice))
}

entries_of_bundle <- function(x) {
  if (is.na(x$https)) {
    return(NULL)
  }
  bundle <- x$bundle
  where <- sprintf("%s (%s)", bundle$path, bundle$variable)
  list(
    if (!x$https) {
      entry("note", "CA bundle", "not used, since the address is not https")
    } else if (is.null(bundle)) {
      entry("note", "CA bundle", "the system's certificates (no variable names others)")
    } else if (is.null(bundle$failure)) {
      count <- bundle$certificates
      unit <- if (count == 1) "certificate" else "certificates"
      text <- sprintf("%s, %d %s instead of the system's", where, count, unit)
      mark <- if (length(bundle$faults)) "note" else "good"
      entry(mark, "CA bundle", text, sprintf("%s.", capitalised(bundle$faults)))
    } else {
      entry("bad", "CA bundle", where, failure_details(bundle$failure))
    }
  )
}

entries_of_proxy <- function(x) {
  if (is.na(x$https)) {
    return(NULL)
  }
  proxy <- x$proxy
  if (is.null(proxy)) {
    return(list(entry("note", "Proxy", "none")))
  }
  address <- if (is.na(proxy$address)) "an address that is not understood" else proxy$address
  text <- sprintf("%s (%s)", address, proxy$variable)
  if (proxy$applies) {
    mark <- if (is.na(proxy$address)) "bad" else "good"
    return(list(entry(mark, "Proxy", text, failure_details(proxy$failure))))
  }
  why <- if (proxy$exception == "loopback") {
    "the address is this machine"
  } else {
    paste(proxy$exception, "names the host")
  }
  list(entry("note", "Proxy", sprintf("%s, not for this address: %s", text, why)))
}

entries_of_hub <- function(hub) {
  if (is.null(hub)) {
    return(NULL)
  }
  whom <- sprintf("for the user %s of %s", hub$user, hub$machine)
  list(
    if (!is.null(hub$failure)) {
      entry("bad", "Account", "the hub does not tell", failure_details(hub$failure))
    } else if (is.na(hub$account)) {
      page <- sprintf("Call azure_sign_in(), or sign in at %s.", hub$page)
      entry("bad", "Account", paste("nobody is signed in", whom), page)
    } else {
      text <- sprintf("%s %s, since %s", hub$account, whom, format_time(hub$since))
      entry("good", "Account", text, sprintf("tenant: %s", hub$tenant))
    }
  )
}

entries_of_connect <- function(set) {
  if (is.null(set)) {
    return(NULL)
  }
  token <- c("CONNECT_CONTENT_SESSION_TOKEN_FILE", "CONNECT_CONTENT_SESSION_TOKEN")
  missing <- setdiff(names(set)[!set], if (any(set[token])) token)
  given <- if (any(set)) toString(names(set)[set]) else "nothing"
  mark <- if (length(missing)) "note" else "good"
  details <- if (length(missing)) paste("Not set:", toString(missing))
  list(entry(mark, "Connect", paste("it has set", given), details))
}

entry_of_resource <- function(found) {
  asked <- if (identical(found$asked, "")) "\"\"" else clipped(found$asked)
  name <- if (is.na(found$resource) || found$resource == found$asked) {
    asked
  } else {
    sprintf("%s (%s)", asked, clipped(found$resource))
  }
  if (!found$was_asked && found$failure$kind != "bad_resource") {
    text <- sprintf("%s, not asked for: %s, as said above", name, found$failure$kind)
    return(entry("bad", "Token", text))
  }
  if (!found$granted) {
    text <- sprintf("%s, refused: %s", name, found$failure$kind)
    return(entry("bad", "Token", text, failure_details(found$failure)))
  }
  until <- if (is.na(found$expires_at)) {
    "it is not known until when"
  } else {
    sprintf("until %s, for %s", format_time(found$expires_at), span(found$lifetime))
  }
  scopes <- if (length(found$scopes)) found$scopes else "not told"
  identity <- identity_lines(found, found$resource)
  details <- c(
    paste("scopes:", paste(scopes, collapse = " ")),
    sprintf("%s: %s", names(identity), identity)
  )
  entry("good", "Token", sprintf("%s, granted %s", name, until), details)
}

# Many work without git, so nothing here stands in the way.
entry_of_git <- function(git) {
  if (is.null(git) || is.na(git$git)) {
    return(entry("note", "git", if (is.null(git)) "cannot be looked at" else "not found"))
  }
  if (!git$configured) {
    text <- if (length(git$gone)) {
      sprintf("%s, told to ask a helper that is gone: use_azure_git() mends it", git$git)
    } else {
      sprintf("%s, not set up for Azure DevOps: use_azure_git() does it", git$git)
    }
    return(entry("note", "git", text))
  }
  others <- c(git$before, git$after)
  entry(
    if (length(others)) "note" else "good",
    "git",
    sprintf("%s, set up for Azure DevOps in %s", git$git, origin_in_words(git$origin)),
    c(
      if (length(others)) sprintf("Other helpers are asked too: %s.", toString(others)),
      "azure_git_sitrep() tells more."
    )
  )
}

# The error's own text without its opening, and the ids under which an administrator finds it.
failure_details <- function(failure) {
  if (is.null(failure)) {
    return(NULL)
  }
  ids <- c("correlation id" = failure$correlation_id, "trace id" = failure$trace_id)
  ids <- ids[!is.na(ids)]
  shown <- vapply(ids, grepl, logical(1), x = failure$message, fixed = TRUE)
  ids <- ids[!as.logical(shown)]
  opening <- failure_opening(failure$resource)
  text <- failure$message
  if (startsWith(text, opening)) {
    text <- substring(text, nchar(opening) + 1)
    text <- capitalised(text)
  }
  c(strsplit(text, "\n", fixed = TRUE)[[1]], sprintf("%s: %s", names(ids), ids))
}

# A sentence begins with a capital letter, unless it begins with a name.
capitalised <- function(text) sub("^([a-z])(?=[a-z]*[ '])", "\\U\\1", text, perl = TRUE)

# The entries as lines no wider than the console, as far as words allow. Advice that has been given
# is not given again.
lines_of <- function(entries, marks, colours) {
  labels <- format(vapply(entries, function(entry) entry$label, ""))
  indent <- nchar(marks[[1]]) + nchar(labels[[1]]) + 2
  wrapped <- function(text) {
    text <- gsub("[[:cntrl:]]+", " ", text)
    strwrap(text, width = max(getOption("width"), indent + 40), indent = indent, exdent = indent)
  }
  advice <- vapply(failure_kinds(), usual_remedy, "")
  given <- character()
  lines <- character()
  for (i in seq_along(entries)) {
    entry <- entries[[i]]
    details <- entry$details[!entry$details %in% given]
    given <- c(given, details[details %in% advice | grepl("^See ", details)])
    text <- wrapped(entry$text)
    mark <- marks[[entry$mark]]
    if (!is.null(colours)) {
      mark <- sprintf("\033[%sm%s\033[39m", colours[[entry$mark]], mark)
    }
    first <- paste(mark, labels[[i]], trimws(text[1]))
    lines <- c(lines, first, text[-1], unlist(lapply(details, wrapped)))
  }
  lines
}

# A length of time, about as exactly as one would say it.
span <- function(seconds) {
  units <- c(second = 1, minute = 60, hour = 3600, day = 86400)
  unit <- units[[max(1, which(seconds >= 2 * units))]]
  number <- round(seconds / unit)
  name <- names(units)[units == unit]
  sprintf("%.0f %s%s", number, name, if (number == 1) "" else "s")
}
