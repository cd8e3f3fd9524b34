# For the tests of packages that build on this one: a tenant, a server and a person, as long as a
# piece of code runs.

#' Test against an emulated Azure
#'
#' For the tests of a package that gets its tokens from this one. `local_emulated_azure()` starts a
#' made-up tenant and a server on this machine, signs in a made-up person, and makes this R process a
#' session of theirs until the calling function or test ends; `with_emulated_azure()` until `code` has
#' run. [getDelegatedAzureToken()], [azure_token()] and everything that uses them then work as in Posit
#' Workbench, without a network.
#'
#' The tokens are good for the tenant's own Microsoft Graph (`/v1.0/me`), Blob storage (`?comp=list`) and
#' Key Vault (`/secrets`, with the secret `database-password`), which refuse bad and expired ones as the
#' real services do. So let your package take the addresses of its services from somewhere that a test
#' can set, such as an option.
#'
#' However the code ends, also by an error or an interrupt, the environment variables are then as they
#' were, and the processes have ended. [azure_forget()] is called before and after. A start takes
#' some tenths of a second.
#'
#' @section Environment variables:
#' Set for the time: those that make a session (see [entrar-options]), `no_proxy`, and
#' `ENTRAR_DEMO_GRAPH`, `ENTRAR_DEMO_BLOB`, `ENTRAR_DEMO_VAULT`, `ENTRAR_DEMO_PERSON` with what
#' `local_emulated_azure()` returns, and `ENTRAR_DEMO_PID`, the server's process. Processes that the code
#' starts inherit them, and are in the session too.
#'
#' @section Faults:
#' What the tenant does in the place of granting a token at once:
#'
#' | fault | what comes of it |
#' |---|---|
#' | `"sign_in_required"` | `entrar_error_sign_in_required` (AADSTS700082); from then on for every resource |
#' | `"consent_required"` | `entrar_error_consent_required` (AADSTS65001) |
#' | `"access_denied"` | `entrar_error_access_denied` (AADSTS53003), with `claims` |
#' | `"throttled"` | `entrar_error_throttled`, `retry_after` a minute; from then on for every resource, as Entra ID throttles a person |
#' | `"unavailable"` | `entrar_error_unavailable` (AADSTS90033), after a second of retries |
#' | `"slow"` | a token after ten seconds; `entrar_error_timeout` where `options(entrar.timeout = 1)` is set |
#'
#' @section Posit Connect:
#' With `connect`, this R process is content of an emulated Posit Connect in the place of a session of
#' Workbench. `TRUE` is a Connect as it may be: Ada, Bob and Grace may visit, and integrations for Graph,
#' storage and Key Vault are attached, two of them for the content itself too. A list says otherwise; what
#' it does not name stays as it is:
#'
#' | element | |
#' |---|---|
#' | `visitors` | who may visit: `"Ada Example <ada@@example.com>"`, or the address alone |
#' | `viewer` | the resources of which there are integrations for the tokens of visitors |
#' | `content` | those of which there are some for the tokens of the content itself |
#' | `faults` | what Connect does in the place of what is asked, some of them with a visitor's address as a name: `c("old_errors", "bob@@example.com" = "visitor_refused")` |
#' | `path` | the path of Connect's address, such as `"/connect"` |
#'
#' | fault | what Connect does |
#' |---|---|
#' | `"key_expired"` | refuses the content's API key |
#' | `"visitor_refused"` | refuses a visitor's session token; may name a visitor |
#' | `"content_refused"` | refuses the content's own session token |
#' | `"no_refresh_token"` | finds no refresh token, for the integration's scopes lack `offline_access`; may name a visitor |
#' | `"opaque_token"` | gives tokens that do not tell when they expire, and that no service here takes; may name a visitor |
#' | `"listing_refused"` | does not say which integrations are attached |
#' | `"scopes_refused"` | does not say which scopes an integration has |
#' | `"lifetime"` | tells how long a token lives, which Connect does not |
#' | `"connect_errors"`, `"old_errors"` | gives the errors of an exchange in its own forms, not in OAuth's |
#' | `"rotated"` | takes the content's session token once, and then puts another one into its file |
#'
#' `faults` are the tenant's behind it. `local_emulated_azure()` then returns these as well: `visitors`, their
#' addresses; `request(visitor)`, what a plumber API would get as `req` from that visitor; and
#' `session(visitor)`, a Shiny session of theirs as far as whose it is: it can be given as `session =`, or put around
#' code by `shiny::withReactiveDomain()`; `close()` ends it. Both are those of somebody who has not signed in where no
#' visitor is named. Session tokens and the API key hold the word *canary*, so that a test can
#' look for them in what was printed. Nothing of this was compared with a live Connect.
#'
#' @param code What to run.
#' @param token_lifetime How long tokens live, in whole seconds from 1 to 86400. They are renewed after half of
#'   a short lifetime: with `2`, a test sees a renewal after a second.
#' @param faults What the tenant does in the place of granting tokens: one of the names below. With names
#'   of its own, a vector says it resource by resource: `c(graph = "consent_required", storage = "slow")`.
#' @param connect Whether to emulate Posit Connect, `TRUE` or `FALSE`, or how: a list (see below).
#' @param env The environment whose end is awaited: that of a function or test that is running.
#'
#' @return `with_emulated_azure()`: what `code` returns. `local_emulated_azure()`: a list, invisibly, of
#'   the addresses `graph`, `blob` and `vault`, without a slash at their end, and of the `person`'s name; with
#'   `connect`, of what is named below in the place of the latter.
#'
#' @note Tried on Linux only, not on macOS and Windows.
#'
#' @examples
#' with_emulated_azure(getDelegatedAzureToken("storage"))
#'
#' with_emulated_azure(
#'   tryCatch(azure_token("graph"), entrar_error = function(e) e$kind),
#'   faults = c(graph = "consent_required")
#' )
#'
#' # Two visitors of content on Posit Connect:
#' visit <- function() {
#'   azure <- local_emulated_azure(connect = TRUE)
#'   azure$visitors
#' }
#' visit()
#'
#' # A test file of a package that asks Graph and Key Vault:
#' system.file("examples", "test-my-package.R", package = "entrar")
#' @export
with_emulated_azure <- function(
  code,
  token_lifetime = 3599,
  faults = character(),
  connect = FALSE
) {
  emulated <- new.env()
  on.exit(end_emulated_azure(emulated))
  start_emulated_azure(emulated, token_lifetime, faults, connect)
  force(code)
}

#' @rdname with_emulated_azure
#' @export
local_emulated_azure <- function(
  token_lifetime = 3599,
  faults = character(),
  connect = FALSE,
  env = parent.frame()
) {
  if (identical(env, globalenv()) || !any(vapply(sys.frames(), identical, NA, env))) {
    stop(
      "`env` must be the environment of a function or test that is running. ",
      "Elsewhere, use `with_emulated_azure()`."
    )
  }
  emulated <- new.env()
  # Before anything starts: an interrupt may come at any moment. What was asked for last ends first.
  end <- bquote(.(end_emulated_azure)(.(emulated)))
  do.call(on.exit, list(end, add = TRUE, after = FALSE), envir = env)
  start_emulated_azure(emulated, token_lifetime, faults, connect)
  variable <- function(name) emulated$variables[[paste0("ENTRAR_DEMO_", name)]]
  services <- list(graph = variable("GRAPH"), blob = variable("BLOB"), vault = variable("VAULT"))
  if (identical(connect, FALSE)) {
    return(invisible(c(services, person = variable("PERSON"))))
  }
  request <- visitor_request(emulated$tokens)
  visitors <- list(
    visitors = names(emulated$tokens),
    request = request,
    session = visitor_session(request)
  )
  invisible(c(services, visitors))
}

emulated_faults <- c(
  "sign_in_required",
  "consent_required",
  "access_denied",
  "throttled",
  "unavailable",
  "slow"
)

# Whatever has begun is noted in the environment `emulated` at once, so that it can be ended.
start_emulated_azure <- function(emulated, token_lifetime, faults, connect) {
  arguments <- c(
    lifetime_arguments(token_lifetime),
    fault_arguments(faults),
    connect_arguments(connect)
  )
  emulated$directory <- tempfile("emulated-azure-", tmpdir = tempdir(check = TRUE))
  if (!dir.create(emulated$directory, mode = "0700")) {
    stop("The emulated Azure needs a directory in ", tempdir(), ".", call. = FALSE)
  }
  file <- file.path(emulated$directory, "session")
  command <- demo_command(c("demo", "--environment", file, arguments), ended_file(file))
  # The command ends when this pipe does: also if R crashes.
  emulated$process <- pipe(command, "w")
  lines <- wait_for_variables(file)
  emulated$tokens <- session_tokens(lines)
  emulated$variables <- lines[!grepl(" ", names(lines), fixed = TRUE)]
  emulated$previous <- Sys.getenv(names(emulated$variables), unset = NA, names = TRUE)
  azure_forget()
  set_variables(emulated$variables)
}

end_emulated_azure <- function(emulated) {
  if (!is.null(emulated$previous)) {
    set_variables(emulated$previous)
  }
  azure_forget()
  if (!is.null(emulated$process)) {
    # To close the pipe is to wait for the process, which does not see that while another process that R
    # has started meanwhile holds the pipe too: the signal ends it anyway.
    if (!is.null(emulated$variables)) {
      tools::pskill(as.integer(emulated$variables[["ENTRAR_DEMO_PID"]]))
    }
    close(emulated$process)
  }
  if (!is.null(emulated$variables)) {
    token <- emulated$variables["CONNECT_CONTENT_SESSION_TOKEN_FILE"]
    remove_runtime_directory(
      if (is.na(token)) emulated$variables[["PWB_SESSION_RUNTIME_DIR"]] else dirname(token)
    )
  }
  unlink(emulated$directory, recursive = TRUE)
}

# The process removes the directory of its cookie or session token itself, unless it was killed: the signal does that on Windows.
remove_runtime_directory <- function(directory) {
  if (startsWith(basename(directory), "entrar-demo-")) {
    unlink(directory, recursive = TRUE)
  }
}

# Ctrl-C at a terminal reaches all processes there, but when to end is for R to decide.
demo_command <- function(arguments, ended) {
  windows <- .Platform$OS.type == "windows"
  words <- paste(
    shQuote(c(entrar_program(), arguments), if (windows) "cmd" else "sh"),
    collapse = " "
  )
  if (windows) words else sprintf("trap '' INT QUIT; %s; : 2>/dev/null >%s", words, shQuote(ended))
}

ended_file <- function(file) paste0(file, ".ended")

# The file is there only once it is whole, and everything serves.
wait_for_variables <- function(file, seconds = 30) {
  deadline <- Sys.time() + seconds
  while (!file.exists(file)) {
    if (Sys.time() > deadline || file.exists(ended_file(file))) {
      stop("The `entrar` command did not start. What it printed tells why.", call. = FALSE)
    }
    Sys.sleep(0.01)
  }
  lines <- read_lines(file)
  variables <- stats::setNames(sub("^[^=]*=", "", lines), sub("=.*", "", lines))
  # On Windows an empty variable could not be set.
  variables[!nzchar(variables)] <- NA
  variables
}

# `NA` unsets.
set_variables <- function(variables) {
  unset <- is.na(variables)
  Sys.unsetenv(names(variables)[unset])
  # It takes no empty list.
  if (!all(unset)) {
    do.call(Sys.setenv, as.list(variables[!unset]))
  }
}

lifetime_arguments <- function(seconds) {
  good <- is.numeric(seconds) && length(seconds) == 1 && seconds %in% 1:86400
  if (!good) {
    stop("`token_lifetime` must be one whole number of seconds from 1 to 86400.", call. = FALSE)
  }
  c("--token-lifetime", format(seconds, scientific = FALSE))
}

fault_arguments <- function(faults) {
  if (!all(faults %in% emulated_faults)) {
    stop("`faults` must be among ", toString(emulated_faults), ".", call. = FALSE)
  }
  names <- if (is.null(names(faults))) rep("", length(faults)) else names(faults)
  of <- vapply(names, resource_prefix, "")
  if (anyDuplicated(of)) {
    stop("`faults` must have at most one for each resource.", call. = FALSE)
  }
  as.vector(rbind(rep("--fault", length(faults)), paste0(of, faults)))
}

# A fault without a name is for all resources.
resource_prefix <- function(name) {
  if (nzchar(name)) paste0(check_resource(name, NULL), "=") else ""
}
