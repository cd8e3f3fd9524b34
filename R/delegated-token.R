# One fresh delegated token.

#' Get a delegated Azure token
#'
#' Gets an access token for an Azure resource that stands for *you*, the signed-in person. Inside
#' Posit Workbench it derives from your single sign-on with Microsoft Entra ID, so there is nothing
#' to sign in to again. It works in every R process of a session: RStudio, Positron, VS Code and
#' Jupyter, and equally `Rscript`, a Quarto document, a background job or a forked worker.
#'
#' Every call is a fresh exchange with Entra ID; nothing is cached. In a loop, use [azure_token()], which
#' keeps the token and renews it before it expires.
#'
#' A call ends after 30 seconds at the latest (see [entrar-options]), and can be interrupted at any
#' moment. In an RStudio session that has no address of its server, RStudio itself is asked, and decides
#' how long that takes.
#'
#' @section Keep it secret:
#' Whoever has the token can act as you until it expires. Printing it shows `<REDACTED>`, but the
#' list holds the secret itself: `unlist()`, `toString()` or `dput()` show it, and a token kept in the
#' workspace is saved with it in `.RData`, in clear. Pass `token$access_token` on to the function that needs it, and do not save it.
#'
#' @section Beside rstudioapi:
#' The function has the name, the arguments and the result of `rstudioapi::getDelegatedAzureToken()`.
#' Where both packages are attached, the one that was attached last wins; write
#' `entrar::getDelegatedAzureToken()` to be sure.
#'
#' @param resource The Azure service, as one string: a URI such as `"https://storage.azure.com"`, an
#'   `api://` name, or a GUID. It is passed on to the letter: for some services a slash at the end
#'   makes another token. A name of [azure_resources()] stands for its resource.
#'
#' @param as What to return: `"list"`, or `"AzureToken"` for the packages AzureAuth, AzureRMR,
#'   AzureGraph, AzureKeyVault, AzureStor and Microsoft365R. The latter needs the R6 package.
#'
#' @param session On Posit Connect, whose token it is to be: the `session` of a Shiny app, or the request (`req`) of a plumber
#'   API. In Shiny the session at hand is meant if none is given. Elsewhere it makes no difference.
#' @param identity On Posit Connect, `"viewer"` for the visitor, or `"content"` for the content's own token, of an integration
#'   of the kind "Service Account". `NULL` means the visitor; see [entrar-connect]. Elsewhere it makes no difference.
#'
#' @return With `as = "list"`, a list of class `entrar_token`:
#'   * `access_token`: the secret, a string.
#'   * `token_type`: how to present it, `"Bearer"`.
#'   * `scope`: the permissions it carries, one string with spaces between them; `NA` if the server
#'     did not tell.
#'   * `expires_at`: when it expires, a number of whole Unix seconds, counted from when the request
#'     left; `NA` if nothing tells.
#'   * `id_token`: who you are, as a signed JSON Web Token; only if the server sent one.
#'
#'   With `as = "AzureToken"`, an R6 object of that class whose `credentials` are that list, with
#'   `expires_on` (the expiry as a string) beside it. `tenant` is the tenant that issued the token, or
#'   `"organizations"` if the token does not tell. `validate()` is `FALSE` from five minutes before
#'   the expiry, or half the lifetime if that is shorter; `refresh()` gets a new token into the same
#'   object, and shares it with [azure_token()].
#'
#'   `AzureRMR::create_azure_login(token = )` and `AzureGraph::create_graph_login(token = )` make a login of it, which
#'   they list and get in later R processes too, if AzureAuth's directory is there. Its file in that directory holds no
#'   secret: the login gets a token when it is used, in a session that is signed in to the same tenant. Name the tenant
#'   to get it: `AzureRMR::get_azure_login(token$tenant)`.
#'
#' @section Errors:
#' An error has class `entrar_error` and a class of its own for each kind of failure, for example
#' `entrar_error_sign_in_required`. [entrar-errors] lists them with their remedies.
#'
#' @source Posit Workbench's documentation of Azure delegated credentials.
#'
#' @examples
#' if (has_azure_session()) {
#'   token <- getDelegatedAzureToken("https://storage.azure.com")
#'   as.POSIXct(token$expires_at, origin = "1970-01-01")
#'   token
#' }
#'
#' \dontrun{
#' token <- getDelegatedAzureToken("https://graph.microsoft.com/", as = "AzureToken")
#' AzureGraph::ms_graph$new(token = token)
#' }
#' @export
getDelegatedAzureToken <- function(
  resource,
  as = c("list", "AzureToken"),
  session,
  identity = NULL
) {
  call <- if (missing(session)) sys.call() else shown_call(sys.call())
  resource <- check_resource(resource, call)
  as <- if (missing(as)) "list" else match.arg(as)
  if (as == "AzureToken") {
    need_r6()
  }

  subject <- token_subject(session, identity, resource, call)
  sent <- as.numeric(Sys.time())
  reply <- request_token(resource, subject, call)
  if (!is.null(reply$failure)) {
    stop(new_failure(reply$failure, resource, call))
  }
  token <- new_token(reply$token, resource, sent, subject$identity)
  if (as == "AzureToken") new_azure_token(token, subject) else token
}

# One exchange. The reply has a `token` or a `failure`, as lists.
request_token <- function(resource, subject = NULL, call = NULL) {
  reply <- if (is.null(subject)) {
    ask_for_token(resource, call_timeout())
  } else {
    ask_connect(resource, subject, call)
  }
  if (reply$in_clear) {
    warn_in_clear()
  }
  if (reply$other_account) {
    warning(
      "Somebody else is signed in than before: tokens are for another account now, and those that were kept for ",
      "the first are dropped.",
      call. = FALSE
    )
  }
  reply
}

# The same without a warning.
ask_for_token <- function(resource, timeout) {
  unless_interrupted(if (use_ide()) ask_ide(resource) else delegated_token(resource, timeout))
}

# What Rust has returned, unless R wanted the call to end meanwhile.
unless_interrupted <- function(reply) {
  if (!is.null(reply$interrupt)) {
    raise(reply$interrupt)
  }
  reply
}

# What has to do with R's types is checked here, the rest in Rust. Returns the resource in UTF-8, and the
# one that a name stands for.
check_resource <- function(resource, call) {
  given <- if (missing(resource)) {
    "it is missing"
  } else if (is.null(resource)) {
    "it is NULL"
  } else if (!is.character(resource)) {
    sprintf("it is an object of class \"%s\"", class(resource)[[1]])
  } else if (length(resource) != 1) {
    sprintf("there are %d of them", length(resource))
  } else if (is.na(resource)) {
    "it is NA"
  } else if (!validEnc(resource) || !validUTF8(resource <- enc2utf8(resource))) {
    "its encoding is broken"
  }
  if (!is.null(given)) {
    stop_bad_resource(given, call)
  }
  checked <- checked_resource(resource)
  if (is.list(checked)) {
    stop(new_failure(checked, repeatable(resource), call))
  }
  checked
}

# What was given for a resource and is none, if it can be shown.
repeatable <- function(text) {
  if (is.na(text) || may_hold_a_secret(text)) NA_character_ else text
}

stop_bad_resource <- function(given, call) {
  failure <- list(
    kind = "bad_resource",
    message = sprintf("`resource` must be one string, but %s", given)
  )
  stop(new_failure(failure, NA_character_, call))
}

# Raises again what ended a call: an interrupt, for which R has no function, or an error such as that of
# a time limit. An interrupt that could not be caught as a condition is `TRUE`.
raise <- function(condition) {
  if (inherits(condition, "error")) {
    stop(condition)
  }
  if (isTRUE(condition)) {
    condition <- structure(list(message = "", call = NULL), class = c("interrupt", "condition"))
  }
  signalCondition(condition)
  invokeRestart("abort")
}

warned <- new.env(parent = emptyenv())

# Warns once a session.
warn_in_clear <- function() {
  if (is.null(warned$in_clear)) {
    warned$in_clear <- TRUE
    warning(
      "The session's server is asked over plain http, so others on the network can read ",
      "your session's cookie and your tokens. Ask its administrator for an https address.",
      call. = FALSE
    )
  }
}
