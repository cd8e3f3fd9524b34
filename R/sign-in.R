# Signing in without Workbench: the agent is started, asked, and told to go.

#' Sign in to Azure without Posit Workbench
#'
#' On a laptop, on open-source RStudio Server, JupyterHub, a cluster's login node or in a container, nobody has signed you
#' in. `azure_sign_in()` does, once: from then on [getDelegatedAzureToken()], [azure_token()] and the git helper have
#' tokens in this and in every other R process of yours on this machine, until you sign out.
#'
#' What keeps you signed in is a small program of yours, the *agent*, which `azure_sign_in()` starts when none runs. It
#' outlives R and serves your user alone. It ends when you sign out, when nobody has asked it anything for 12 hours,
#' when you stop it with `entrar agent stop`, or with the machine.
#'
#' @section With a hub:
#' Where an administrator runs a *hub* on this machine, `azure_sign_in()` without arguments signs you in there: the hub's page
#' opens, or its address is shown, and any browser will do. You are signed in then on every machine of that hub, in every
#' session of yours, also after the machine was restarted. Some hubs show a code at the end, which you type into R: type only
#' a code of a sign-in that you have begun yourself. `azure_sign_in(replace = TRUE)` signs in anew. With any argument but
#' `replace` it is an agent of your own that signs you in; while one runs, it is asked before the hub.
#'
#' R keeps tokens of [azure_token()] in each process until they expire. A process other than the one that calls
#' `azure_sign_in()` or `azure_sign_out()` is not told, and hands out what it has kept: [azure_forget()] drops that.
#'
#' @section Which app:
#' Entra ID signs people in to an *app*, which decides what tokens may be used for. entrar has none of its own.
#' * Your organisation's: an administrator registers it once. In a shell, the command `entrar setup entra` prints what does
#'   that, with Azure CLI; `system.file("bin", package = "entrar")` is the directory of that command. You get a client id.
#' * Azure CLI's: `client_id = "azure-cli"`. It is there in every tenant, and may do much; the sign-in log shows your
#'   sign-ins as those of Azure CLI, whose makers mean it for Azure CLI alone. Some tenants allow it no tokens
#'   for some services (AADSTS65002). Nothing can be pasted with it.
#'
#' @section How you meet Entra ID:
#' * `"browser"`: your browser opens, and comes back to this machine when you have signed in.
#' * `"paste"`: the address of the sign-in page is shown. Open it in a browser anywhere. At the end that browser stands
#'   at an address that begins with `http://localhost`, which it cannot open: copy that address and paste it here. **It
#'   is as good as your password** until it is used: give it to no other program or person.
#' * `"device_code"`: a short code is shown, which you type on a page of Entra ID. Many organisations forbid it, since it
#'   is easy to talk somebody into typing a code; and it never proves that your device is a managed one.
#' * `"auto"`: the browser where one can open that reaches this machine, else pasting.
#'
#' A sign-in ends after 15 minutes. Ctrl-C ends it at any moment. Where Entra ID shows an error in the browser and goes no
#' further, it does not tell R: press Ctrl-C then.
#'
#' @section What is kept where:
#' A hub keeps what it got from Entra ID in a database, encrypted. The agent keeps what it got from Entra ID (a refresh token) in memory, never on disk. On Linux its memory cannot be read
#' by other programs of yours. Any program that runs as you can ask it for tokens, though, as it could ask
#' your browser. Signing out ends the agent; access tokens that were handed out live on until they expire, 60 to 90 minutes.
#'
#' @param tenant Your organisation's tenant: its id, or one of its domains. Else the variable `AZURE_TENANT_ID`, the option
#'   `entrar.tenant`, or any organisation that the app is open to.
#' @param client_id The app: its client id, or `"azure-cli"`. Else the variable `AZURE_CLIENT_ID` or the option
#'   `entrar.client_id`. If the app is that of `AZURE_CLIENT_ID`, it proves itself by `AZURE_CLIENT_SECRET`,
#'   `AZURE_CLIENT_CERTIFICATE_PATH` or `AZURE_FEDERATED_TOKEN_FILE` where one is set.
#' @param method How you meet Entra ID; see below.
#' @param ... Must be empty: the arguments behind it are given by name.
#' @param login_hint The user name that the sign-in page begins with. Without it the page lets you choose.
#' @param authority Entra ID's address, where it is not one of Microsoft's clouds. Else the variable `AZURE_AUTHORITY_HOST`,
#'   which may name one of those, or `https://login.microsoftonline.com`.
#' @param replace Whether another account may take the place of the one that is signed in. `NA` asks, where
#'   somebody can be asked, and is `FALSE` elsewhere. At a hub, whether to sign in though somebody is signed in.
#'
#' @return `azure_sign_in()` and `azure_account()`: the account, a list of class `entrar_account` with the strings
#'   `username`, `name`, `tenant`, `object_id`, `client_id`, `authority` and `method`, `NA` where nothing is known, and
#'   `since`, a `POSIXct`; it holds no secret. `azure_account()` is `NULL` where nobody is signed in by `azure_sign_in()`.
#'   `azure_sign_out()`: the account that was signed in, or `NULL`; invisibly.
#' @seealso `vignette("sign-in", "entrar")`
#' @examples
#' azure_account()
#' \dontrun{
#' azure_sign_in(tenant = "contoso.example", client_id = "11111111-2222-3333-4444-555555555555")
#' getDelegatedAzureToken("https://graph.microsoft.com")
#' azure_sign_out()
#' }
#' @export
azure_sign_in <- function(
  tenant = NULL,
  client_id = NULL,
  method = c("auto", "browser", "paste", "device_code"),
  ...,
  login_hint = NULL,
  authority = NULL,
  replace = NA
) {
  call <- sys.call()
  if (...length()) {
    stop("`login_hint`, `authority` and `replace` are given by name.", call. = FALSE)
  }
  method <- match.arg(method)
  given <- list(tenant, client_id, login_hint, authority, if (method != "auto") method)
  if (!is.logical(replace) || length(replace) != 1) {
    stop("`replace` must be TRUE, FALSE or NA.", call. = FALSE)
  }
  wanted <- list(
    tenant = check_text(given_or_option(tenant, "AZURE_TENANT_ID", "entrar.tenant"), "tenant"),
    client_id = check_text(
      given_or_option(client_id, "AZURE_CLIENT_ID", "entrar.client_id"),
      "client_id"
    ),
    login_hint = check_text(login_hint, "login_hint"),
    authority = check_text(authority, "authority"),
    method = if (method != "auto") method
  )
  wanted <- wanted[!vapply(wanted, is.null, NA)]
  wants_own <- !all(vapply(given, is.null, NA))
  if (answered(signing_in_by(wants_own, !is.null(ide_function())), call) == "hub") {
    return(invisible(sign_in_at_hub(isTRUE(replace), call)))
  }
  has_browser <- opens_browser()
  check_can_paste(answered(sign_in_method(wanted, has_browser), call))
  start_agent(call)
  attempt <- answered(begin_sign_in(wanted, has_browser, call_timeout()), call)
  signed_in <- FALSE
  on.exit(if (!signed_in) cancel_attempt(attempt$id))
  progress <- sign_in_progress(attempt, call)
  if (identical(progress$state, "confirm")) {
    if (!may_replace(progress, replace)) {
      stop(kept_account(progress, call))
    }
    progress <- ask_agent("accept", list(id = attempt$id), call)
  }
  signed_in <- TRUE
  azure_forget()
  note_account()
  # Variables of an agent before would lead to nobody.
  if (identical(Sys.getenv("ENTRAR_ORIGIN"), "agent")) {
    azure_session_env(inline = nzchar(Sys.getenv("RS_SESSION_RPC_COOKIE")))
  }
  account <- new_account(progress$account)
  message("Signed in as ", account_name(account), ".")
  invisible(account)
}

#' @rdname azure_sign_in
#' @export
azure_account <- function() {
  if (has_agent()) {
    new_account(ask_agent("account", list(), sys.call()))
  } else if (has_hub()) {
    new_account(ask_hub("me", list(), sys.call())$account)
  }
}

#' @rdname azure_sign_in
#' @export
azure_sign_out <- function() {
  if (!has_agent()) {
    if (has_hub()) {
      return(invisible(sign_out_at_hub(sys.call())))
    }
    message("Nobody is signed in by azure_sign_in().")
    return(invisible(NULL))
  }
  account <- new_account(ask_agent("sign_out", list(), sys.call()))
  azure_forget()
  # They lead to a port that any user of this machine may now take.
  unset_session("agent")
  if (is.null(account)) {
    message("Nobody was signed in; the agent has ended.")
  } else {
    message(
      sprintf("%s is signed out, and the agent has ended.\n", account_name(account)),
      what_outlives_a_sign_out
    )
  }
  if (has_hub()) {
    message("Tokens are the hub's from now on; azure_account() tells whose.")
  }
  invisible(account)
}

what_outlives_a_sign_out <- paste(
  "Access tokens that were handed out serve until they expire, 60 to 90 minutes.",
  "Your browser may still be signed in to Entra ID."
)

# Takes out the variables of a session that agent or hub has opened and that has ended.
unset_session <- function(origin) {
  if (identical(Sys.getenv("ENTRAR_ORIGIN"), origin)) {
    Sys.unsetenv(c(
      "RS_SERVER_ADDRESS",
      "RS_SESSION_RPC_COOKIE",
      "PWB_SESSION_RUNTIME_DIR",
      "ENTRAR_ORIGIN"
    ))
  }
}

#' Tokens for other programs of this session
#'
#' Other people's clients of Posit Workbench, such as rstudioapi (0.18 or later), Python's posit-sdk, and git with
#' `git-credential-pwb`, know their server by an address and a cookie. `azure_session_env()` has the agent of
#' [azure_sign_in()], or this machine's hub, open such a session, and sets its variables in this R process, so that they work in it and in
#' the programs that it starts. entrar itself needs none of it.
#'
#' In a shell, `eval "$(entrar env)"` does the same.
#'
#' The cookie is in a file that only you can read, and an agent renews it there. A hub's is good for as long as its administrator
#' lets it be, as a rule 12 hours: another call writes a new one. The file lies in the directory of your agent (see
#' [entrar-options]), with a warning where a hub's cookie may come to a disk by it. `RSTUDIO_VERSION` is unset where it is that of an RStudio
#' that is too old for rstudioapi.
#'
#' @param inline Whether the cookie is put into the environment too. Other programs, logs and bug reports may show
#'   environments: leave it out unless a client looks nowhere else. It does not follow when the cookie is renewed, after
#'   12 hours.
#'
#' @return The variables that were set, their names and values; the cookie is not among them. Invisibly.
#' @examples
#' \dontrun{
#' azure_sign_in()
#' azure_session_env()
#' rstudioapi::getDelegatedAzureToken("https://storage.azure.com")
#' }
#' @export
azure_session_env <- function(inline = FALSE) {
  check_flag(inline, "inline")
  opened <- answered(session_variables(call_timeout()), sys.call())
  if (opened$on_disk) {
    warning(
      "The session's cookie lies in a directory that is not known to be in memory. ",
      "Set XDG_RUNTIME_DIR or ENTRAR_RUNTIME_DIR to one that is and is yours alone.",
      call. = FALSE
    )
  }
  variables <- opened$variables
  variables <- vapply(variables, function(value) if (is.null(value)) NA_character_ else value, "")
  secret <- names(variables) == "RS_SESSION_RPC_COOKIE"
  if (!inline) {
    variables[secret] <- NA_character_
  }
  set_variables(variables)
  invisible(variables[!secret & !is.na(variables)])
}

# The option only where the variable says nothing: that may be meant for one process, an option is for all.
given_or_option <- function(given, variable, option) {
  if (is.null(given) && !nzchar(Sys.getenv(variable))) getOption(option) else given
}

check_text <- function(text, name) {
  if (is.null(text)) {
    return(NULL)
  }
  good <- is.character(text) && length(text) == 1 && !is.na(text) && nzchar(text)
  if (!good || !validEnc(text) || !validUTF8(enc2utf8(text))) {
    stop(sprintf("`%s` must be one non-empty string.", name), call. = FALSE)
  }
  enc2utf8(text)
}

# A function in the option is a browser of R's own making, such as that of an editor.
opens_browser <- function() {
  browser <- getOption("browser")
  is.function(browser) || (is.character(browser) && isTRUE(nzchar(browser)) && interactive())
}

# Nobody can paste into a script.
check_can_paste <- function(method) {
  if (identical(method, "paste") && !can_ask()) {
    stop(
      "No browser can open here, and nobody can be asked to paste an address into a script.\n",
      "Call azure_sign_in() in an interactive R session on this machine; scripts then have tokens too. ",
      "Where even that cannot be, try method = \"device_code\".",
      call. = FALSE
    )
  }
}

can_ask <- function() isTRUE(getOption("entrar.ask", interactive()))

# The agent outlives R, so that it is started by the command and not by R itself.
start_agent <- function(call) {
  started <- run_program(c(entrar_program(), "agent", "start"), limit = 60)
  if (!identical(started$status, 0L)) {
    why <- sub("^entrar: ", "", paste(started$errors, collapse = "\n"))
    remedy <- "Look at what stands there; `entrar agent start` in a shell says the same."
    stop(sign_in_failure(list(kind = "no_session", message = why, remedy = remedy), call))
  }
}

# Asks, and raises what went wrong as a failure to sign in.
ask_agent <- function(name, parameters, call, timeout = call_timeout()) {
  answered(agent_request(name, parameters, timeout), call)
}

answered <- function(reply, call) {
  unless_interrupted(reply)
  if (!is.null(reply$failure)) {
    stop(sign_in_failure(reply$failure, call))
  }
  reply$answer
}

sign_in_failure <- function(failure, call) {
  new_failure(failure, NA_character_, call, opening = "Cannot sign in to Azure: ")
}

# Whatever ended the attempt here, the agent is not to wait for it. It may be gone itself.
cancel_attempt <- function(id) {
  try(agent_request("cancel", list(id = id), 2), silent = TRUE)
}

# Tells what to do, and waits until the person has done it.
sign_in_progress <- function(attempt, call) {
  until <- format(as.POSIXct(attempt$expires_at, origin = "1970-01-01"), "%H:%M")
  switch(
    attempt$method,
    browser = {
      message(
        "Your browser opens to sign you in. Waiting until ",
        until,
        "; Ctrl-C ends it.\n",
        "If no browser opens, call azure_sign_in(method = \"paste\").\n",
        stuck_browser
      )
      utils::browseURL(attempt$address)
    },
    paste = return(pasted_progress(attempt, until, call)),
    device_code = message(
      "Open ",
      attempt$address,
      " in any browser and type this code:\n\n    ",
      attempt$user_code,
      "\n\nWaiting until ",
      until,
      "; Ctrl-C ends it. ",
      "Type only a code that you have asked for yourself.\n",
      stuck_browser
    )
  )
  repeat {
    wait <- list(id = attempt$id, seconds = 20)
    progress <- ask_agent("wait", wait, call, timeout = 60)
    if (!identical(progress$state, "waiting")) {
      return(progress)
    }
  }
}

# An app that Entra ID does not know, for one, is told to the browser and to nobody else.
stuck_browser <- paste(
  "If the browser shows an error of Entra ID and goes no further, press Ctrl-C:",
  "R is not told of that one."
)

pasted_progress <- function(attempt, until, call) {
  message(
    "Open this address in a browser, on any machine, and sign in there until ",
    until,
    ":\n\n",
    attempt$address,
    "\n\n",
    "At the end that browser shows an error, since it looks for this machine: its address line then\n",
    "begins with http://localhost. Copy that whole address and paste it here. It is as good as your\n",
    "password: paste it nowhere else, and paste none that somebody has sent you."
  )
  repeat {
    address <- read_answer("Address (nothing ends it): ")
    if (!nzchar(trimws(address))) {
      failure <- list(
        kind = "sign_in_required",
        message = "nothing was pasted",
        remedy = "Call azure_sign_in() again when you have the time."
      )
      stop(sign_in_failure(failure, call))
    }
    reply <- unless_interrupted(
      agent_request("answer", list(id = attempt$id, address = address), 60)
    )
    if (is.null(reply$failure)) {
      return(reply$answer)
    }
    # Another address may be the right one; what Entra ID has refused stays refused.
    if (!identical(reply$failure$kind, "bad_reply")) {
      stop(sign_in_failure(reply$failure, call))
    }
    message("That is not the address: ", end_sentence(reply$failure$message))
  }
}

# Tests answer by the option.
read_answer <- function(prompt) {
  answer <- getOption("entrar.answer")
  if (is.function(answer)) answer(prompt) else readline(prompt)
}

may_replace <- function(progress, replace) {
  if (!is.na(replace)) {
    return(replace)
  }
  if (!can_ask()) {
    return(FALSE)
  }
  names <- names_of_two(progress)
  question <- sprintf(
    "%s is signed in. Sign in as %s in their place, in every R process? (yes/no) ",
    names[["before"]],
    names[["now"]]
  )
  tolower(trimws(read_answer(question))) %in% c("y", "yes")
}

kept_account <- function(progress, call) {
  names <- names_of_two(progress)
  failure <- list(
    kind = "access_denied",
    message = sprintf(
      "%s is signed in, and stays so; you have signed in as %s",
      names[["before"]],
      names[["now"]]
    ),
    remedy = "Call azure_sign_out() first, or azure_sign_in(replace = TRUE)."
  )
  sign_in_failure(failure, call)
}

new_account <- function(account) {
  if (is.null(account)) {
    return(NULL)
  }
  known <- c(
    "username",
    "name",
    "tenant",
    "object_id",
    "client_id",
    "authority",
    "method"
  )
  fields <- lapply(account[known], function(text) if (is.null(text)) NA_character_ else text)
  names(fields) <- known
  fields$since <- as.POSIXct(account$since, origin = "1970-01-01")
  structure(fields, class = "entrar_account")
}

account_name <- function(account) {
  names <- c(account$username, account$name, account$object_id)
  names[!is.na(names)][[1]]
}

# Two accounts, each by as much as tells it from the other: a guest has one name in several tenants, and a name may be given
# to another person.
names_of_two <- function(progress) {
  before <- new_account(progress$replaces)
  now <- new_account(progress$account)
  names <- c(before = account_name(before), now = account_name(now))
  if (tolower(names[[1]]) != tolower(names[[2]])) {
    return(names)
  }
  tenants <- c(before$tenant, now$tenant)
  known <- sprintf("tenant %s", tenants)
  if (tenants[[1]] == tenants[[2]]) {
    known <- sprintf("%s, object id %s", known, c(before$object_id, now$object_id))
  }
  names[] <- sprintf("%s (%s)", names, known)
  names
}

#' @export
format.entrar_account <- function(x, ...) {
  lines <- unlist(unclass(x)[c("username", "name", "tenant", "object_id", "client_id")])
  lines <- c(lines, since = format(x$since, "%Y-%m-%d %H:%M:%S %Z"))
  c("<entrar_account>", labelled(lines[!is.na(lines)]))
}

#' @export
print.entrar_account <- function(x, ...) {
  writeLines(format(x, ...))
  invisible(x)
}
