# Requests of httr2 that look their token up when they are performed.

#' Authenticate an httr2 request with a delegated token
#'
#' The token is looked up with [azure_token()] when the request is performed, not when it is made, so
#' a request can be kept and performed again hours later. When a server refuses the token with status
#' 401 and a challenge that says `error="invalid_token"`, the token is renewed and the request made once
#' more; httr2 renews after no other refusal. Printing the request shows no token.
#'
#' With `httr2::req_retry()`, the token is looked up again at each attempt only where httr2 signs each
#' attempt; 0.2.2 signs once.
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
  call <- sys.call()
  if (missing(resource)) {
    stop_bad_resource("it is missing", call)
  }
  resource <- check_resource(resource, call)
  if (!requireNamespace("httr2", quietly = TRUE)) {
    stop("`req_auth_azure()` needs the httr2 package. Install it with install.packages(\"httr2\").")
  }
  flow <- function() httr2::oauth_token(azure_token(resource, refresh = TRUE))
  httr2::req_oauth(req, flow, list(), token_cache(resource))
}

# httr2 asks its cache first: so the cache is `azure_token()`. When the token was refused, older versions call
# the flow, and newer ones clear the cache and call the flow if it then has nothing.
token_cache <- function(resource) {
  refused <- FALSE
  list(
    get = function() if (!refused) httr2::oauth_token(azure_token(resource)),
    set = function(token) refused <<- FALSE,
    clear = function() refused <<- TRUE
  )
}
