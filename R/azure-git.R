# git for Azure DevOps: the credential helper, in git's configuration and out of it, and how it fares.

#' Azure DevOps from git without a personal access token
#'
#' `use_azure_git()` makes git ask entrar's credential helper, `git-credential-pwb`, for repositories of
#' Azure DevOps: `https://dev.azure.com/...` and `https://ORGANISATION.visualstudio.com/...`. The helper
#' answers with a delegated token, the one that [getDelegatedAzureToken()] would get, so that `git clone`,
#' `git pull` and `git push` just work, in every kind of session and for Git LFS too.
#'
#' Two sections are added at the end of git's configuration, between two comments; nothing else in the file
#' changes. Each section first makes git forget the helpers that it has read before: git gives an accepted
#' token to *every* helper, and one such as `store` would write it to disk. A helper that is configured
#' later, or in a repository, is not forgotten: [azure_git_sitrep()] tells, and calling `use_azure_git()`
#' again (in that repository with `scope = "project"`) puts ours last.
#'
#' The change is shown first, and made if you agree; where nobody can be asked, only with `yes = TRUE`. From a
#' shell, the file at `git_credential_path()` does the same, given `configure` or `unconfigure`, but tells git its
#' own path unless `--helper PATH` names another.
#'
#' @section After an upgrade of R:
#' Your own library's path holds R's version, so what lies there may be gone after an upgrade. git is therefore told the
#' path of a link, `~/.local/share/entrar/bin/git-credential-pwb` (`XDG_DATA_HOME` is heeded), which `use_azure_git()`
#' makes. If what it leads to is gone, [azure_git_sitrep()] says so, and calling `use_azure_git()` again makes it lead to
#' the helper of the library that it is called from. Loading entrar changes no file. `remove = TRUE` deletes the link
#' too, unless another configuration that git reads here names it. On Windows, where links need a privilege, git is
#' told the helper's own path: after an upgrade call `use_azure_git()` there too.
#'
#' @param scope Whose configuration: `"user"` is your own (`git config --global`), `"project"` that of the
#'   repository in the working directory.
#' @param remove `TRUE` undoes it.
#' @param yes `TRUE` makes the change without asking, as a script must.
#'
#' @return `use_azure_git()`: `TRUE` if something was changed, else `FALSE`, invisibly.
#'   `git_credential_path()`: the helper's path, a string.
#' @examples
#' git_credential_path()
#' \dontrun{
#' use_azure_git()
#' use_azure_git(remove = TRUE)
#' }
#' @export
use_azure_git <- function(scope = c("user", "project"), remove = FALSE, yes = FALSE) {
  scope <- match.arg(scope)
  check_flag(remove, "remove")
  check_flag(yes, "yes")
  words <- c(
    if (remove) "unconfigure" else c("configure", "--helper", configured_path()),
    if (scope == "project") "--project"
  )
  change <- c(run_git_credential(c(words, "--dry-run")), if (!remove) link_change())
  if (!length(change)) {
    message("git is set up so already: nothing was changed.")
    return(invisible(FALSE))
  }
  message(paste(change, collapse = "\n"))
  if (!yes && !is_wanted(scope, remove)) {
    return(invisible(FALSE))
  }
  if (!remove) {
    make_link()
  }
  run_git_credential(words)
  if (remove) {
    remove_link()
  }
  invisible(TRUE)
}

check_flag <- function(value, name) {
  if (!isTRUE(value) && !isFALSE(value)) {
    stop(sprintf("`%s` must be TRUE or FALSE.", name), call. = FALSE)
  }
}

# Where nobody can be asked, silence is no consent.
is_wanted <- function(scope, remove) {
  if (interactive()) {
    return(isTRUE(utils::askYesNo("Make this change?")))
  }
  arguments <- c(
    if (scope == "project") "\"project\"",
    if (remove) "remove = TRUE",
    "yes = TRUE"
  )
  stop(
    "Nothing was changed, since nobody can be asked here. To make this change, call `use_azure_git(",
    toString(arguments),
    ")`.",
    call. = FALSE
  )
}

# The path that git is told. It stays the same when R is upgraded, and with it the path of the person's library.
configured_path <- function() {
  if (.Platform$OS.type == "windows") git_credential_path() else link_path()
}

link_path <- function() {
  data <- Sys.getenv("XDG_DATA_HOME")
  if (!startsWith(data, "/")) {
    data <- file.path(Sys.getenv("HOME", path.expand("~")), ".local", "share")
  }
  file.path(data, "entrar", "bin", "git-credential-pwb")
}

# Empty where there is none.
link_target <- function() {
  target <- Sys.readlink(link_path())
  if (is.na(target)) "" else target
}

# What `make_link()` would do, if anything.
link_change <- function() {
  if (configured_path() == link_path() && link_target() != git_credential_path()) {
    sprintf("%s will be a link to %s", link_path(), git_credential_path())
  }
}

make_link <- function() {
  link <- link_path()
  target <- git_credential_path()
  if (configured_path() != link || link_target() == target) {
    return(invisible())
  }
  dir.create(dirname(link), recursive = TRUE, showWarnings = FALSE)
  # A git that looks for the helper at this moment finds the old link or the new one.
  new <- tempfile("link", dirname(link))
  if (!suppressWarnings(file.symlink(target, new) && file.rename(new, link))) {
    unlink(new)
    stop("The link ", link, " cannot be made.", call. = FALSE)
  }
}

# Unless git is still told it here. What lies above it goes if it is empty.
remove_link <- function() {
  if (!any(helper_path(azure_helpers(NA_character_)$value) == link_path())) {
    unlink(link_path())
    above <- dirname(link_path())
    suppressWarnings(file.remove(c(above, dirname(above))))
  }
}

#' @rdname use_azure_git
#' @export
git_credential_path <- function() {
  name <- if (.Platform$OS.type == "windows") "git-credential-pwb.exe" else "git-credential-pwb"
  path <- system.file("bin", name, package = "entrar")
  if (!nzchar(path)) {
    stop(
      "The git credential helper is not installed with this package; install entrar again.",
      call. = FALSE
    )
  }
  path
}

# What the helper prints; its complaint as an error.
run_git_credential <- function(words) {
  done <- run_program(c(git_credential_path(), words), limit = longest_timeout)
  if (!identical(done$status, 0L)) {
    complaint <- if (length(done$errors)) {
      done$errors
    } else {
      "The git credential helper did not finish."
    }
    stop(paste(complaint, collapse = "\n"), call. = FALSE)
  }
  done$output
}

#' Report on git's set-up for Azure DevOps
#'
#' Looks at everything that has to be right for `git clone https://dev.azure.com/...`: whether the helper is
#' configured, whether another helper stands before or after it, what makes git go past every helper, whether a token
#' would come, and whether it is of the tenant that the organisation belongs to.
#'
#' It asks the helper itself for a token, as git would, and throws it away; on Linux that may be one that the helper has
#' kept from an earlier command. The organisation's tenant is
#' what Azure DevOps answers to a request without a token, which git makes with its own proxy and
#' certificates. Nothing of a remote's address is shown but the organisation.
#'
#' @param organization The organisation's name. If it is `NULL`, the remote `origin` of the repository in the
#'   working directory is looked at.
#'
#' @return A list of class `azure_git_sitrep`, `NA` where something is not known:
#'   * `git`: git's version. `helper`: the helper's path.
#'   * `configured`: whether git asks the helper for Azure DevOps. `origin`: the file that says so.
#'   * `gone`: helpers of this name that git is told to ask and that are no longer there, as after an upgrade of R.
#'   * `before`, `after`: other helpers that git asks before it, or tells after it.
#'   * `bypassed`: sentences on what makes git ask no helper, or send something else: a password or token in a remote's
#'     address, a header of its own, SSH. Of the remotes of the repository in the working directory.
#'   * `token`: whether a token comes. `expires`: when it would expire. `reason`: why none comes.
#'   * `organization`, `tenant`, `token_tenant`: the organisation, its tenant, and the token's.
#'   * `tenant_matches`: whether both tenants are the same.
#' @examples
#' azure_git_sitrep()
#' @export
azure_git_sitrep <- function(organization = NULL) {
  remotes <- git_remotes()
  organization <- if (is.null(organization)) {
    origin_organization(remotes)
  } else {
    check_name(organization)
  }
  challenge <- challenge_of(organization)
  structure(
    class = "azure_git_sitrep",
    c(
      git_set_up(organization),
      list(
        bypassed = c(bypassing_remotes(remotes), bypassing_headers(organization)),
        organization = organization,
        tenant = challenged_tenant(challenge)
      ),
      ask_helper(organization, challenge)
    )
  )
}

# What git's own settings tell, without asking anybody.
git_set_up <- function(organization = NA_character_) {
  git <- git_output("--version")
  helpers <- azure_helpers(organization)
  gone <- is_gone(helpers$value)
  lost <- helpers[gone, ]
  helpers <- helpers[!gone, ]
  ours <- which(is_ours(helpers$value))
  last <- if (length(ours)) max(ours) else NA
  places <- seq_along(helpers$value)
  list(
    git = if (length(git)) sub("^git version ", "", git[[1]]) else NA_character_,
    helper = git_credential_path(),
    configured = length(ours) > 0,
    origin = if (is.na(last)) NA_character_ else helpers$origin[[last]],
    gone = unique(helper_path(lost$value)),
    before = helper_name(helpers$value[if (is.na(last)) places else places < min(ours)]),
    after = helper_name(helpers$value[if (is.na(last)) integer() else places > last])
  )
}

#' @export
format.azure_git_sitrep <- function(x, ...) {
  lines <- c(
    git = if (is.na(x$git)) "not found" else x$git,
    helper = x$helper,
    configured = if (x$configured) {
      paste("yes, in", origin_in_words(x$origin))
    } else {
      "no; use_azure_git() does it"
    },
    before = told(x$before, "git asks it first; use_azure_git() puts it behind"),
    after = told(
      x$after,
      "git gives it each token, to store; use_azure_git() again, and see ?use_azure_git"
    ),
    gone = if (length(x$gone)) {
      sprintf("%s (git is told to ask it; %s)", toString(x$gone), gone_remedy)
    },
    bypassed = if (length(x$bypassed)) paste(x$bypassed, collapse = " "),
    token = if (x$token) {
      paste("yes, it would expire", time_in_words(x$expires))
    } else {
      paste("no:", x$reason)
    },
    organisation = if (is.na(x$organization)) "not known" else x$organization,
    tenant = tenant_in_words(x)
  )
  c("<azure_git_sitrep>", labelled(lines))
}

#' @export
print.azure_git_sitrep <- function(x, ...) {
  writeLines(format(x, ...))
  invisible(x)
}

gone_remedy <- "R or entrar was upgraded or moved: use_azure_git() mends it"

# Where git says that a setting is from.
origin_in_words <- function(origin) {
  if (startsWith(origin, "file:")) {
    sub("file:", "", origin, fixed = TRUE)
  } else {
    "this session's environment"
  }
}

# The helper writes times as RFC 3339 has them.
time_in_words <- function(time) {
  sub("Z", " UTC", sub("T", " ", time, fixed = TRUE), fixed = TRUE)
}

told <- function(helpers, why) {
  if (length(helpers)) paste0(toString(helpers), " (", why, ")") else "no other helper"
}

tenant_in_words <- function(x) {
  if (is.na(x$tenant)) {
    asked <- if (is.na(x$organization)) "" else ": the organisation's server did not tell"
    return(paste0("not known", asked))
  }
  verdict <- if (is.na(x$tenant_matches)) {
    "the token's is not known"
  } else if (x$tenant_matches) {
    "the token's is the same"
  } else {
    sprintf("but the token is of %s, so it will be refused", x$token_tenant)
  }
  paste0(x$tenant, ", ", verdict)
}

check_name <- function(organization) {
  good <- is.character(organization) &&
    length(organization) == 1 &&
    grepl("^[A-Za-z0-9-]{1,50}$", organization)
  if (!good) {
    stop("`organization` must be one name, of letters, digits and hyphens.", call. = FALSE)
  }
  organization
}

# What git prints; nothing if it fails or is not there.
git_output <- function(...) {
  done <- run_git(c(...))
  if (identical(done$status, 0L)) done$output else character()
}

# `NULL` where there is no git.
run_git <- function(arguments, variables = character()) {
  git <- Sys.which("git")
  if (nzchar(git)) {
    quiet <- c("LC_ALL=C", "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=")
    run_program(c(git, arguments), c(quiet, variables))
  }
}

# The remotes of the repository here and their addresses, as `url.<base>.insteadOf` leaves them.
git_remotes <- function() {
  lines <- git_output("remote", "-v")
  pattern <- "^([^\t]*)\t(.*) \\((fetch|push)\\)( \\[[^]]*\\])?$"
  lines <- grep(pattern, lines, value = TRUE)
  found <- data.frame(name = sub(pattern, "\\1", lines), url = sub(pattern, "\\2", lines))
  unique(found)
}

# The organisation of an address that is what it seems.
url_organization <- function(url) {
  name <- "([A-Za-z0-9-]{1,50})"
  patterns <- c(
    paste0("^https://([^/?#@]*@)?dev\\.azure\\.com(:443)?/", name, "([/?#].*)?$"),
    paste0("^https://([^/?#@]*@)?()", name, "\\.visualstudio\\.com(:443)?([/?#].*)?$"),
    paste0(
      "^(?:ssh://)?[^/@:]*@(ssh\\.dev\\.azure|vs-ssh\\.visualstudio)\\.com(:22)?[:/]v3/",
      name,
      "(/.*)?$"
    )
  )
  for (pattern in patterns) {
    if (!is_misread(url) && grepl(pattern, url, ignore.case = TRUE, perl = TRUE)) {
      return(sub(pattern, "\\3", url, ignore.case = TRUE, perl = TRUE))
    }
  }
  NA_character_
}

origin_organization <- function(remotes) {
  url <- remotes$url[remotes$name == "origin"]
  if (length(url)) url_organization(url[[1]]) else NA_character_
}

# With a second @, or one behind the first /, ? or #: as a rule a password that was not encoded, whose rest git takes for
# host or path.
is_misread <- function(url) {
  grepl("^[A-Za-z][A-Za-z0-9+.-]*://([^@]*@[^@]*@|[^/?#]*[/?#][^@]*@)", url)
}

# What makes git ask no helper, a sentence a remote. Nothing of an address is in it.
bypassing_remotes <- function(remotes) {
  sentences <- vapply(remotes$url, why_bypassed, "", USE.NAMES = FALSE)
  # A name is free text where somebody has written the file by hand.
  plain <- grepl("^[A-Za-z0-9._-]{1,50}$", remotes$name)
  name <- ifelse(plain, paste0("The remote ", remotes$name), "A remote")
  unique(paste(name, sentences)[!is.na(sentences)])
}

why_bypassed <- function(url) {
  url <- sub("^([A-Za-z]+://)", "\\L\\1", url, perl = TRUE)
  authority <- sub("^https://([^/?#]*).*$", "\\1", url)
  user <- if (grepl("@", authority, fixed = TRUE)) sub("@[^@]*$", "", authority) else ""
  host <- sub("^.*@", "", authority)
  if (is_misread(url) && grepl("(dev\\.azure|\\.visualstudio)\\.com", url, ignore.case = TRUE)) {
    paste(
      "has an @ in its address that is not encoded, so git may take a part of a password for host or path:",
      "percent-encode it (@ is %40, # is %23, / is %2F), or better leave the password out."
    )
  } else if (grepl(ssh_to_azure, url, ignore.case = TRUE)) {
    paste(
      "goes by SSH, for which git asks no helper: `git remote set-url` gives it the address",
      "https://dev.azure.com/{organization}/{project}/_git/{repository}."
    )
  } else if (!startsWith(url, "https://") || !grepl(azure_host, host, ignore.case = TRUE)) {
    NA_character_
  } else if (grepl(":", user, fixed = TRUE)) {
    paste(
      "has a password or token in its address, which git sends without asking a helper:",
      without_user
    )
  } else if (nchar(user) > 50) {
    paste(
      "has what looks like a token as user name in its address, and whoever reads the file reads it:",
      without_user
    )
  } else {
    NA_character_
  }
}

azure_host <- "^(dev\\.azure|[a-z0-9-]+\\.visualstudio)\\.com\\.?(:443)?$"
ssh_to_azure <- "^(ssh://)?([^/@:]*@)?(ssh\\.dev\\.azure|[a-z0-9-]+\\.visualstudio)\\.com\\.?[:/]"

without_user <- paste(
  "`git remote set-url` gives it the address without what stands between https:// and the @.",
  "Revoke the token."
)

# A header that git sends with each request: the helper's answer does not replace it.
bypassing_headers <- function(organization) {
  found <- git_settings("http", "extraheader")
  host <- "^https://([^/@]*@)?[a-z0-9*-]+\\.visualstudio\\.com([:/]|$)"
  is_other_host <- grepl(host, found$url, ignore.case = TRUE)
  found <- last_ones(found[is_azure_url(found$url, organization) | is_other_host, ])
  found <- found[grepl("^authorization[[:space:]]*:", found$value, ignore.case = TRUE), ]
  sprintf(
    "The setting %s in %s sends a credential of its own with each request: take it out, with `git config --unset-all` in a file.",
    ifelse(nzchar(found$url), "http.<url>.extraHeader", "http.extraHeader"),
    vapply(found$origin, origin_in_words, "", USE.NAMES = FALSE)
  )
}

# The helpers that git asks for https://dev.azure.com, in its order: an empty one makes it forget those before.
azure_helpers <- function(organization) {
  found <- git_settings("credential", "helper")
  last_ones(found[is_azure_url(found$url, organization), ])
}

# An empty value of such a setting empties the list.
last_ones <- function(found) {
  reset <- which(!nzchar(found$value))
  found[seq_len(nrow(found)) > max(0, reset), ]
}

# All values of `section.name` and `section.<url>.name`, in git's order, and where they stand.
git_settings <- function(section, name) {
  pattern <- sprintf("%s\\.(.*\\.)?%s", section, name)
  lines <- git_output("config", "--show-origin", "--get-regexp", sprintf("^%s$", pattern))
  line <- sprintf("^([^\t]*)\t%s( (.*))?$", pattern)
  # A value may go on in a line of its own.
  lines <- grep(line, lines, value = TRUE)
  parts <- regmatches(lines, regexec(line, lines))
  data.frame(
    origin = vapply(parts, `[`, "", 2),
    url = sub("\\.$", "", vapply(parts, `[`, "", 3)),
    value = vapply(parts, `[`, "", 5)
  )
}

# Without what people write into a helper's command line: passwords among others. A shell reads it, so a word ends
# where a shell's word can end.
helper_name <- function(value) {
  name <- sub("[[:space:];&|<>()$\"'=`].*$", "", value)
  name[!grepl("^[A-Za-z0-9._-]+$", basename(name))] <- "a helper"
  name[startsWith(value, "!")] <- "a shell command"
  name
}

# As git matches URLs: without one a setting is for all; a star is any text within one part of the host.
is_azure_url <- function(url, organization) {
  path <- if (is.na(organization)) "" else sprintf("(%s(/.*)?)?", organization)
  bare <- sub("^https://([^/@]*@)?", "", url)
  host <- sub("[:/].*$", "", bare)
  pattern <- paste0(
    "^",
    gsub("*", "[^.]*", gsub("([][{}()+?^$|\\\\.])", "\\\\\\1", host), fixed = TRUE),
    "$"
  )
  host_matches <- vapply(pattern, grepl, TRUE, x = "dev.azure.com", USE.NAMES = FALSE)
  path_matches <- grepl(paste0("^[^/:]*(:443)?(/", path, ")?$"), bare, ignore.case = TRUE)
  !nzchar(url) | (startsWith(url, "https://") & host_matches & path_matches)
}

# By its path: Workbench brings a helper of the same name, and an older library may hold an older one. The link is ours
# whatever library it leads to.
is_ours <- function(value) {
  path <- helper_path(value)
  path == link_path() |
    normalizePath(path, mustWork = FALSE) == normalizePath(git_credential_path())
}

# The path of a helper that is given by its path, or as we quote one.
helper_path <- function(value) {
  path <- gsub("'\\''", "'", sub("^!'(.*)'$", "\\1", value), fixed = TRUE)
  path[path == "pwb"] <- Sys.which("git-credential-pwb")
  path
}

# Whether it is a path to a helper of this name that leads nowhere.
is_gone <- function(value) {
  path <- helper_path(value)
  absolute <- grepl("^(/|[A-Za-z]:)", path) & grepl("[/\\\\]git-credential-pwb(\\.exe)?$", path)
  absolute & !file.exists(path)
}

# The challenges to a request without a token. -c comes after all other settings: no helper is asked.
challenge_of <- function(organization) {
  if (is.na(organization)) {
    return(character())
  }
  address <- sprintf("https://dev.azure.com/%s/_git/%s", organization, organization)
  # Of settings by address, the one of the whole address counts.
  no_header <- sprintf("http.%s.extraHeader=", address)
  done <- run_git(
    c("-c", "credential.helper=", "-c", no_header, "ls-remote", address),
    # The trace stands in a file for a moment: without cookies and passwords, whatever the session's variables say.
    c("GIT_TRACE_CURL=1", "GIT_TRACE_CURL_NO_DATA=1", "GIT_TRACE_REDACT=1")
  )
  lines <- done$errors
  header <- "^.*<= Recv header: *www-authenticate: *"
  sub(header, "", grep(header, lines, value = TRUE, ignore.case = TRUE), ignore.case = TRUE)
}

guid_pattern <- "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"

challenged_tenant <- function(challenge) {
  pattern <- paste0("^.*authorization_uri=\"?https://[^/]+/(", guid_pattern, ").*$")
  found <- grep(pattern, challenge, value = TRUE)
  if (length(found)) tolower(sub(pattern, "\\1", found[[1]])) else NA_character_
}

# Asks the helper as git would. Its answer, which holds the token, goes nowhere; its trace tells.
ask_helper <- function(organization, challenge) {
  request <- c(
    "protocol=https",
    "host=dev.azure.com",
    if (!is.na(organization)) paste0("path=", organization),
    if (length(challenge)) paste0("wwwauth[]=", challenge)
  )
  done <- run_program(
    c(git_credential_path(), "get"),
    c("GIT_CREDENTIAL_PWB_TRACE=1", "GIT_TERMINAL_PROMPT=0"),
    input = request,
    keep_output = FALSE,
    limit = longest_timeout
  )
  lines <- done$errors
  traced <- grepl("^git-credential-pwb: trace: ", lines)
  fact <- function(pattern) {
    pattern <- paste0("^git-credential-pwb: trace: ", pattern, ".*$")
    found <- grep(pattern, lines[traced], value = TRUE)
    if (length(found)) sub(pattern, "\\1", found[[1]]) else NA_character_
  }
  token <- any(grepl("trace: answer: a user name and a token", lines[traced], fixed = TRUE))
  token_tenant <- fact(sprintf("tenant: token (%s)", guid_pattern))
  reason <- paste(sub("^git-credential-pwb: ", "", lines[!traced]), collapse = " ")
  verdict <- fact("tenant: .*: (the same|another)$")
  list(
    token = token,
    expires = fact("token: expires ([^,]*)"),
    reason = if (token) NA_character_ else reason,
    token_tenant = token_tenant,
    tenant_matches = if (is.na(verdict)) NA else verdict == "the same"
  )
}
