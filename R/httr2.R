# Requests of httr2 that look their token up when they are performed.

#' Authenticate an httr2 request with a delegated token
#'
#' The token is looked up with [azure_token()] when the request is performed, not when it is made, so
#' a request can be kept and performed again hours later. Printing the request shows no token, nor does
#' `httr2::req_dry_run()`. Saving it writes none, except after it was performed with httr2 1.1, which
#' keeps the headers that were sent.
#'
#' When a server refuses the token with status 401 and a challenge for a bearer token, the token is
#' renewed and the request made once more. Two things need httr2 1.2.2 or newer: that the token is
#' looked up again at each attempt of `httr2::req_retry()`, and that it is renewed though the challenge
#' does not say `error="invalid_token"`, as Azure Storage's and Microsoft Graph's do not.
#' The second is itself a retry: a `req_retry()` of your own replaces it.
#'
#' @param req A request of httr2.
#' @param resource The Azure service, as for [getDelegatedAzureToken()].
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
req_auth_azure <- function(req, resource) {
  # Not kept in a variable: with it, a request that is saved would bring along the source file of the call.
  if (missing(resource)) {
    stop_bad_resource("it is missing", sys.call())
  }
  resource <- check_resource(resource, sys.call())
  if (!requireNamespace("httr2", quietly = TRUE)) {
    stop("`req_auth_azure()` needs the httr2 package. Install it with install.packages(\"httr2\").")
  }
  tokens <- token_source(resource)
  # Replaced when the request is signed. Until then it has httr2 redact the header, in a dry run too.
  req <- httr2::req_auth_bearer_token(req, "looked-up-when-performed")
  req <- httr2::req_oauth(req, tokens$flow, list(), tokens$cache)
  has_retries <- any(startsWith(names(req$policies), "retry_"))
  if (signs_each_attempt() && !has_retries) {
    at_once <- function(resp) 0
    req <- httr2::req_retry(req, max_tries = 2, is_transient = tokens$is_refused, after = at_once)
  }
  req
}

# Older versions would send the refused token again.
signs_each_attempt <- function() utils::packageVersion("httr2") >= "1.2.2"

# What httr2 is given: a cache, which it asks first and which is that of `azure_token()`, and a flow, which
# renews. When the token was refused, older versions call the flow, and newer ones clear the cache and call the
# flow if it then has nothing. Tokens are told apart by when they were asked for: no secret is kept here.
token_source <- function(resource) {
  call <- call("azure_token", resource)
  used <- refused <- renewed <- NA
  hand_out <- function(token) {
    used <<- attr(token, "sent")
    httr2::oauth_token(token$access_token)
  }
  cache <- list(
    get = function() {
      token <- fresh_token(resource, insist = FALSE, call)
      if (!identical(attr(token, "sent"), refused)) hand_out(token)
    },
    set = function(token) NULL,
    clear = function() refused <<- used
  )
  flow <- function() {
    token <- fresh_token(resource, insist = TRUE, call)
    renewed <<- attr(token, "sent")
    hand_out(token)
  }
  # The challenges that httr2 does not take for a refused token. A token that was renewed is not renewed again:
  # `httr2::req_perform_parallel()` would go on for ever.
  is_refused <- function(resp) {
    challenges <- unlist(httr2::resp_headers(resp, "^www-authenticate$"))
    unseen <- httr2::resp_status(resp) == 401 &&
      !identical(used, renewed) &&
      any(grepl("\\bBearer\\b", challenges, ignore.case = TRUE)) &&
      !any(grepl("error=\"invalid_token\"", challenges, fixed = TRUE))
    if (unseen) {
      refused <<- used
    }
    unseen
  }
  list(flow = flow, cache = cache, is_refused = is_refused)
}
