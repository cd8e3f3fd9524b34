# The emulated Azure of this process: its server, and what it sets.

emulated_pid <- function() as.integer(Sys.getenv("ENTRAR_DEMO_PID"))

# Only the names of what differs: there is a cookie among the values.
expect_environment <- function(expected) {
  now <- Sys.getenv()
  differ <- union(
    setdiff(names(expected), names(now)),
    names(now)[is.na(match(paste0(names(now), now), paste0(names(expected), expected)))]
  )
  expect_identical(differ, character())
}

visitor_token <- function(request) request$HTTP_POSIT_CONNECT_USER_SESSION_TOKEN

# Whose token it is, as the emulated Graph says.
name_on_graph <- function(azure, token) {
  connection <- url(
    paste0(azure$graph, "/v1.0/me"),
    headers = c(Authorization = paste("Bearer", token))
  )
  on.exit(close(connection))
  jsonlite::fromJSON(paste(readLines(connection, warn = FALSE), collapse = ""))$displayName
}
