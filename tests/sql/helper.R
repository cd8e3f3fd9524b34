# A SQL Server (see server/src/main.rs) and a client of it from npm (see login.js).

# Starts the server for the rest of a test.
local_sql_server <- function(frame = parent.frame()) {
  server <- processx::process$new(Sys.getenv("SQL_SERVER"), stdin = "|", stdout = "|", stderr = "")
  withr::defer(server$kill(), frame)
  list(process = server, port = answer(server))
}

# The next line that the server writes.
answer <- function(server) {
  line <- character()
  deadline <- Sys.time() + 60
  while (length(line) == 0 && server$is_alive() && Sys.time() < deadline) {
    server$poll_io(1000)
    line <- server$read_output_lines(1)
  }
  if (length(line) == 0) {
    stop("The SQL Server does not answer.")
  }
  line
}

# Logs in with the token, and returns the one that the server received. The client finds it in its environment:
# everybody may read a command line.
log_in <- function(server, token) {
  client <- processx::run(
    Sys.getenv("SQL_NODE"),
    c("login.js", server$port),
    env = c("current", SQL_TOKEN = token),
    error_on_status = FALSE,
    timeout = 120
  )
  expect_identical(client[c("stderr", "status")], list(stderr = "", status = 0L))
  expect_identical(client$stdout, "1\n", label = "what the query returned")
  received_by(server)
}

# The token of the latest login.
received_by <- function(server) {
  server$process$write_input("\n")
  answer(server$process)
}

# Whom a token is for, read from its second part.
audience <- function(token) {
  claims <- jsonlite::base64url_dec(strsplit(token, ".", fixed = TRUE)[[1]][2])
  jsonlite::fromJSON(rawToChar(claims))$aud
}

# Prints no more than "equal" or "not equal".
expect_same_token <- function(received, sent) {
  comparison <- if (identical(charToRaw(received), charToRaw(sent))) "equal" else "not equal"
  expect_identical(comparison, "equal", label = "the tokens sent and received")
}
