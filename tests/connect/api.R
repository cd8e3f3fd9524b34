# A plumber API as content: who asks is the request's visitor.

get_from <- function(service, path, token) {
  address <- paste0(Sys.getenv(paste0("ENTRAR_DEMO_", service)), path)
  connection <- url(address, headers = c(Authorization = paste("Bearer", token)))
  on.exit(close(connection))
  paste(readLines(connection, warn = FALSE), collapse = "")
}

# An error as an answer that a test can read: the token's, or that it has expired on its way to a service.
or_error <- function(code, res) {
  answer <- function(status, error) {
    res$status <- status
    list(error = error)
  }
  tryCatch(
    code,
    entrar_error = function(e) answer(403L, e$kind),
    error = function(e) answer(503L, "too late")
  )
}

api <- plumber::pr()
api <- plumber::pr_get(api, "/me", function(req, res) {
  or_error(
    jsonlite::fromJSON(get_from("GRAPH", "/v1.0/me", entrar::azure_token("graph", session = req))),
    res
  )
})
# Without a request there is no visitor, and the content has to be meant in so many words.
api <- plumber::pr_get(api, "/nobody", function(res) or_error(entrar::azure_token("graph"), res))
api <- plumber::pr_get(api, "/containers", function(res) {
  or_error(
    get_from("BLOB", "?comp=list", entrar::azure_token("storage", identity = "content")),
    res
  )
})
plumber::pr_run(api, port = as.integer(Sys.getenv("ENTRAR_DEMO_PORT")), docs = FALSE, quiet = TRUE)
