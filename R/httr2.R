# Requests of httr2 that look their token up when they are performed.

#' Authenticate an httr2 request with a delegated token
#'
#' The token is looked up with [azure_token()] when the request is performed, not when it is made, so
#' a request can be kept, or saved to a file, and performed again hours later. If the server answers with status 401
#' and asks for a bearer token (`WWW-Authenticate: Bearer`), the token is renewed and the request sent once more, as
#' far as the version of httr2 allows: see below. A redirect to another host does not take the token there.
#'
#' @section When a refused token is renewed:
#' * With httr2 1.2.2 or later: after any such answer, once. For this, `req_auth_azure()` gives the request a
#'   `httr2::req_retry()`.
#' * If the request has a `req_retry()` of yours, added before or after, that one is used instead. The token is looked
#'   up at each of its attempts, but after a 401 it is renewed only if the answer says `error="invalid_token"`.
#'   Microsoft Graph and Azure Storage do not say that: there, call `azure_token(resource, refresh = TRUE)` and
#'   perform the request again.
#' * With httr2 before 1.2.2: also only after `error="invalid_token"`, and the token is looked up once for all
#'   attempts.
#' * `httr2::req_perform_parallel()` retries status 429 and 503 by itself; these requests only if you
#'   add a `req_retry()`. Requests that are alike in address, method, headers and body cannot be told apart there:
#'   together they are sent once more, not each.
#'
#' @section What can show the token:
#' With httr2 1.2.0 or later only `req_verbose(info = TRUE)`, which is also `req_perform(verbosity = 3)`, over HTTP/2.
#' With older versions, do not save or share responses, errors, `last_request()`, the value of `req_dry_run()` or the
#' files of `req_cache()`: they can hold the token.
#'
#' @param req A request of httr2.
#' @param resource The Azure service, as for [getDelegatedAzureToken()].
#'
#' @inheritParams getDelegatedAzureToken
#'
#' @return The request, for the next step of a pipeline.
#' @examples
#' if (has_azure_session() && requireNamespace("httr2", quietly = TRUE)) {
#'   graph <- Sys.getenv("ENTRAR_DEMO_GRAPH", "https://graph.microsoft.com")
#'   httr2::request(paste0(graph, "/v1.0/me")) |>
#'     req_auth_azure("graph") |>
#'     httr2::req_perform() |>
#'     httr2::resp_body_json()
#' }
#' @export
req_auth_azure <- function(req, resource, session, identity = NULL) {
  # The call is not kept in a variable: a request that is saved would bring along its source file.
  resource <- check_resource(resource, sys.call())
  if (!requireNamespace("httr2", quietly = TRUE)) {
    stop("`req_auth_azure()` needs the httr2 package. Install it with install.packages(\"httr2\").")
  }
  # Bound to the visitor of now, whoever is there when it is performed.
  subject <- token_subject(
    session,
    identity,
    resource,
    if (missing(session)) sys.call() else shown_call(sys.call())
  )
  tokens <- token_source(resource, subject)
  req <- httr2::req_oauth(req, tokens$flow, list(), tokens$cache)
  # Before 5.2.1, curl would send the token to whatever host it is redirected to.
  req <- httr2::req_options(req, unrestricted_auth = FALSE)
  if (signs_each_attempt()) {
    # Replaced when the request is signed. Without it a dry run shows the token.
    req <- httr2::req_auth_bearer_token(req, "looked-up-when-performed")
    if (!has_own_retries(req)) {
      req <- httr2::req_retry(req, max_tries = 2, is_transient = tokens$is_refused, after = at_once)
    }
  }
  req
}

# Older versions of httr2 would send the refused token again.
signs_each_attempt <- function() utils::packageVersion("httr2") >= "1.2.2"

has_own_retries <- function(req) {
  any(startsWith(names(req$policies), "retry_")) &&
    !inherits(req$policies$retry_is_transient, "entrar_is_refused")
}

# Made here and not in `req_auth_azure()`, where it would keep the request.
at_once <- function(resp) 0

# What httr2 is given: a cache, which it asks first and which is that of `azure_token()`, and a flow, which
# renews. When the token was refused, older versions call the flow, and newer ones clear the cache and call the
# flow if it then has nothing.
token_source <- function(resource, subject = NULL) {
  # Now, and not when the request is performed: another visitor may be there then.
  force(subject)
  call <- call("azure_token", resource)
  # Tokens are told apart by when they were asked for: no secret is kept here.
  used <- refused <- renewed <- NA
  # When each request that is being asked once more was refused, by what makes it differ from others.
  repeated <- numeric()

  hand_out <- function(token) {
    used <<- attr(token, "sent")
    httr2::oauth_token(token$access_token)
  }
  # One request's token may have been renewed since for another one: then that one is tried first.
  refuse <- function() {
    if (!identical(used, renewed) || as.numeric(Sys.time()) - renewed > recently) {
      refused <<- used
    }
  }
  cache <- list(
    get = function() {
      token <- fresh_token(resource, insist = FALSE, call, subject)
      if (!identical(attr(token, "sent"), refused)) hand_out(token)
    },
    set = function(token) NULL,
    clear = refuse
  )
  flow <- function() {
    refused <<- NA
    # An error ends what is being asked once more.
    on.exit(repeated <<- numeric())
    token <- fresh_token(resource, insist = TRUE, call, subject)
    on.exit()
    renewed <<- attr(token, "sent")
    hand_out(token)
  }
  # `httr2::req_perform_parallel()` does not count the attempts, so each request has one. Neither does it tell of those
  # that succeed, so that a refusal counts for a while only.
  is_refused <- function(resp) {
    was_refused <- httr2::resp_status(resp) == 401
    now <- as.numeric(Sys.time())
    repeated <<- repeated[now - repeated <= recently]
    request <- if (was_refused || length(repeated)) request_hash(resp$request)
    is_second <- any(names(repeated) == request)
    repeated <<- repeated[names(repeated) != request]
    if (!was_refused) {
      renewed <<- NA
      return(FALSE)
    }
    if (is_second || !is_bearer_challenge(resp)) {
      return(FALSE)
    }
    repeated[[request]] <<- now
    refuse()
    TRUE
  }
  list(flow = flow, cache = cache, is_refused = structure(is_refused, class = "entrar_is_refused"))
}

# In seconds. What is refused so soon after a renewal is not refused for its age.
recently <- 60

# The same for each attempt of a request, and another one for each other request, also at the same address. A request
# that was derived from another one shares all that req_auth_azure() has put into it, so that cannot tell them apart.
# Hidden headers leave no trace in it, whose form rlang does not take.
request_hash <- function(request) {
  sent <- unclass(request)[c("url", "method", "headers", "fields", "body")]
  rlang::hash(serialize(sent, NULL))
}

# Whether a bearer token is asked for, in words that httr2 does not take for a refused token. It reads the first
# header only.
is_bearer_challenge <- function(resp) {
  challenges <- unlist(httr2::resp_headers(resp, "^www-authenticate$"))
  any(grepl("(^|,)\\s*Bearer\\b", challenges, ignore.case = TRUE)) &&
    !any(grepl("error=\"invalid_token\"", challenges[1], fixed = TRUE))
}
