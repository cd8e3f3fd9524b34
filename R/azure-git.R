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
#' In an interactive session the change is shown first, and made if you agree; elsewhere it is shown and made. From a
#' shell, the file at `git_credential_path()` does the same, given `configure` or `unconfigure`.
#'
#' @param scope Whose configuration: `"user"` is your own (`git config --global`), `"project"` that of the
#'   repository in the working directory.
#' @param remove `TRUE` undoes it.
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
use_azure_git <- function(scope = c("user", "project"), remove = FALSE) {
  scope <- match.arg(scope)
  if (!isTRUE(remove) && !isFALSE(remove)) {
    stop("`remove` must be TRUE or FALSE.", call. = FALSE)
  }
  words <- c(if (remove) "unconfigure" else "configure", if (scope == "project") "--project")
  change <- run_git_credential(c(words, "--dry-run"))
  if (!length(change)) {
    message("git is set up so already: nothing was changed.")
    return(invisible(FALSE))
  }
  message(paste(change, collapse = "\n"))
  if (interactive() && !isTRUE(utils::askYesNo("Make this change?"))) {
    return(invisible(FALSE))
  }
  run_git_credential(words)
  invisible(TRUE)
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
#' configured, whether another helper stands before or after it, whether a token would come, and whether
#' it is of the tenant that the organisation belongs to.
#'
#' It asks the helper itself for a token, as git would, and throws it away. The organisation's tenant is
#' what Azure DevOps answers to a request without a token, which git makes with its own proxy and
#' certificates.
#'
#' @param organization The organisation's name. If it is `NULL`, the remote `origin` of the repository in the
#'   working directory is looked at.
#'
#' @return A list of class `azure_git_sitrep`, `NA` where something is not known:
#'   * `git`: git's version. `helper`: the helper's path.
#'   * `configured`: whether git asks the helper for Azure DevOps. `origin`: the file that says so.
#'   * `before`, `after`: other helpers that git asks before it, or tells after it.
#'   * `token`: whether a token comes. `expires`: when it would expire. `reason`: why none comes.
#'   * `organization`, `tenant`, `token_tenant`: the organisation, its tenant, and the token's.
#'   * `tenant_matches`: whether both tenants are the same.
#' @examples
#' azure_git_sitrep()
#' @export
azure_git_sitrep <- function(organization = NULL) {
  organization <- if (is.null(organization)) origin_organization() else check_name(organization)
  challenge <- challenge_of(organization)
  structure(
    class = "azure_git_sitrep",
    c(
      git_set_up(organization),
      list(organization = organization, tenant = challenged_tenant(challenge)),
      ask_helper(organization, challenge)
    )
  )
}

# What git's own settings tell, without asking anybody.
git_set_up <- function(organization = NA_character_) {
  git <- git_output("--version")
  helpers <- azure_helpers(organization)
  ours <- which(is_ours(helpers$value))
  last <- if (length(ours)) max(ours) else NA
  places <- seq_along(helpers$value)
  list(
    git = if (length(git)) sub("^git version ", "", git[[1]]) else NA_character_,
    helper = git_credential_path(),
    configured = length(ours) > 0,
    origin = if (is.na(last)) NA_character_ else helpers$origin[[last]],
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

origin_organization <- function() {
  url <- git_output("config", "--get", "remote.origin.url")
  patterns <- c(
    "^https://([^/@]*@)?dev\\.azure\\.com(:443)?/([A-Za-z0-9-]+)(/.*)?$",
    "^https://([^/@]*@)?()([A-Za-z0-9-]+)\\.visualstudio\\.com(:443)?(/.*)?$"
  )
  for (pattern in patterns) {
    if (length(url) == 1 && grepl(pattern, url)) {
      return(sub(pattern, "\\3", url))
    }
  }
  NA_character_
}

# The helpers that git asks for https://dev.azure.com, in its order: an empty one makes it forget those before.
azure_helpers <- function(organization) {
  lines <- git_output("config", "--show-origin", "--get-regexp", "^credential\\.(.*\\.)?helper$")
  parts <- regmatches(lines, regexec("^([^\t]*)\tcredential\\.(.*\\.)?helper( (.*))?$", lines))
  found <- data.frame(
    origin = vapply(parts, `[`, "", 2),
    url = sub("\\.$", "", vapply(parts, `[`, "", 3)),
    value = vapply(parts, `[`, "", 5)
  )
  found <- found[is_azure_url(found$url, organization), ]
  reset <- which(!nzchar(found$value))
  found[seq_len(nrow(found)) > max(0, reset), ]
}

# Without what people write into a helper's command line: passwords among others.
helper_name <- function(value) {
  name <- sub(" .*$", "", value)
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

# By its path: Workbench brings a helper of the same name, and an older library may hold an older one.
is_ours <- function(value) {
  path <- gsub("'\\''", "'", sub("^!'(.*)'$", "\\1", value), fixed = TRUE)
  path[path == "pwb"] <- Sys.which("git-credential-pwb")
  normalizePath(path, mustWork = FALSE) == normalizePath(git_credential_path())
}

# The challenges to a request without a token. -c comes after all other settings: no helper is asked.
challenge_of <- function(organization) {
  if (is.na(organization)) {
    return(character())
  }
  address <- sprintf("https://dev.azure.com/%s/_git/%s", organization, organization)
  done <- run_git(
    c("-c", "credential.helper=", "ls-remote", address),
    c("GIT_TRACE_CURL=1", "GIT_TRACE_CURL_NO_DATA=1")
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
