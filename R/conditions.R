# What R says when there is no token, and the help page that explains each kind. What to do about one is Rust's to say
# (`client/src/remedy.rs`): it depends on who has opened the session.

#' Kinds of errors, and what to do about them
#'
#' Every failure to get a token is a condition of class `c("entrar_error_<kind>", "entrar_error",
#' "error", "condition")`, so that a program can tell them apart:
#'
#' ```r
#' tryCatch(
#'   getDelegatedAzureToken("https://storage.azure.com"),
#'   entrar_error_sign_in_required = function(e) message("Please sign in again."),
#'   entrar_error = function(e) if (e$retryable) message("Try again later.")
#' )
#' ```
#'
#' Its fields, `NA` (or empty) where nothing is known:
#' * `kind`: one of the names below. `resource`: what was asked for.
#' * `oauth_error`, `suberror`, `claims`, `correlation_id`, `trace_id`: what Entra ID reported, as
#'   strings. `aadsts`: its error codes, integers.
#' * `http_status`: the server's HTTP status, an integer. `retry_after`: how long the server asks to
#'   wait, in seconds. `retryable`: whether the same call may succeed later.
#'
#' An interrupt (Ctrl-C, Esc) is not an error: it is R's own `interrupt` condition.
#'
#' @section bad_resource:
#' The resource is not one non-empty string, or Entra ID knows no such resource or scope in your
#' organisation. Resources are names of [azure_resources()], URIs such as `"https://storage.azure.com"`, `api://`
#' names or GUIDs, never scopes (`".../.default"`) and, as a rule, no address of an account or a server.
#'
#' @section no_session:
#' There is no server to ask: this R process runs outside Posit Workbench and nobody is signed in, or the agent that you
#' have signed in to has ended; or Workbench was set up without an address that sessions can call back. On Posit
#' Connect it means that there is no visitor whose token it could be; see [entrar-connect].
#'
#' @section server_too_old:
#' Posit Workbench is older than 2024.12.0, or the server at that address does not know the request.
#'
#' @section bad_cookie:
#' The session's cookie is missing, cannot be read, has expired or was refused. It is in the file
#' `rpc_cookie` in the directory `PWB_SESSION_RUNTIME_DIR`, or in `RS_SESSION_RPC_COOKIE`. A session
#' that is older than your sign-in may have lost it: restart R, or sign out and in again.
#'
#' @section unreachable:
#' The server's name is not known, the connection was refused, or its certificate is not trusted.
#' Certificates that only your organisation trusts are named by `REQUESTS_CA_BUNDLE`; see
#' [entrar-options].
#'
#' @section timeout:
#' There was no answer in time, retries included. See [entrar-options] to wait longer.
#'
#' @section bad_reply:
#' What answered does not speak Workbench's language: a web page, a redirect, a reply that breaks off
#' or is too large. As a rule the address is wrong, or a proxy stands in between.
#'
#' @section server_error:
#' The server reports an error of its own. Its text is in the message, for your administrator.
#'
#' @section sign_in_required:
#' Your sign-in has expired or was revoked, or has to be confirmed with a second factor. In Posit Workbench, sign out and
#' sign in again; the message says what to do elsewhere.
#'
#' @section consent_required:
#' The app, Workbench's or the one that you have signed in to, has no delegated permission for the resource, or nobody has
#' consented to it. An administrator of Entra ID can grant both.
#'
#' @section access_denied:
#' A policy of your organisation (Conditional Access) forbids it: for this device, place or person.
#'
#' @section misconfigured:
#' The app is not in order: its registration with Entra ID, its secret or its tenant. It is Workbench's or the hub's own, which
#' only an administrator can mend; or the one that you have named to [azure_sign_in()], and then `client_id` or `tenant` may be
#' wrong.
#'
#' @section throttled:
#' Too many requests in a short time. Wait, and reuse a token until shortly before it expires.
#'
#' @section unavailable:
#' A passing fault of the server or of Entra ID that outlasted the retries.
#'
#' @seealso `vignette("troubleshooting", "entrar")` says more of each: what to look at, and whom to ask. It is
#' there if the package was installed from a tarball that `R CMD build` made.
#' @name entrar-errors
#' @aliases entrar_error
NULL

# The condition for a failure: `failure` holds what Rust knows of it (see `crates/r/src/convert.rs`),
# or only `kind` and `message` where R has found it by itself.
new_failure <- function(failure, resource, call, opening = failure_opening(resource)) {
  unknown <- list(
    server_text = NA_character_,
    remedy = NA_character_,
    oauth_error = NA_character_,
    suberror = NA_character_,
    claims = NA_character_,
    correlation_id = NA_character_,
    trace_id = NA_character_,
    aadsts = integer(),
    http_status = NA_integer_,
    retry_after = NA_real_,
    retryable = FALSE
  )
  failure <- utils::modifyList(unknown, failure)
  fields <- setdiff(names(unknown), c("server_text", "remedy"))
  structure(
    class = c(paste0("entrar_error_", failure$kind), "entrar_error", "error", "condition"),
    c(
      list(message = failure_message(failure, opening), call = call),
      list(kind = failure$kind, resource = resource),
      failure[fields]
    )
  )
}

failure_message <- function(failure, opening) {
  wait <- if (!is.na(failure$retry_after)) {
    sprintf("The server asks to wait %s.", span(ceiling(failure$retry_after)))
  }
  lines <- c(
    paste0(opening, end_sentence(failure$message)),
    if (!is.na(failure$server_text)) paste("The server said:", failure$server_text),
    wait,
    if (is.na(failure$remedy)) usual_remedy(failure$kind) else failure$remedy,
    where_to_read(failure$kind)
  )
  paste(lines, collapse = "\n")
}

failure_opening <- function(resource) {
  sprintf("No Azure token%s: ", for_resource(resource))
}

# An installation from a directory has no vignettes, so that the help page has to do.
where_to_read <- function(
  kind,
  has_vignette = nzchar(system.file("doc/troubleshooting.html", package = "entrar"))
) {
  if (has_vignette) {
    sprintf("See vignette(\"troubleshooting\", \"entrar\"), heading \"%s\".", kind)
  } else {
    sprintf("See `%s` in ?entrar::`entrar-errors`.", kind)
  }
}

end_sentence <- function(text) {
  if (grepl("[.?!]$", text)) text else paste0(text, ".")
}

# Only as much of a resource as fits a line, on one line.
for_resource <- function(resource) {
  if (is.na(resource) || !nzchar(resource)) {
    return("")
  }
  sprintf(" for \"%s\"", clipped(resource))
}

clipped <- function(text) {
  text <- gsub("[[:cntrl:]]+", " ", text)
  if (isTRUE(nchar(text) > 100)) paste0(substr(text, 1, 100), "...") else text
}
