# connectcreds, unmodified, exchanges session tokens at the emulated Connect. It is tried where it is installed.

source(file.path("..", "testthat", "helper-emulated.R"))

test_that("each visitor has a token of their own", {
  skip_if_not_installed("connectcreds")
  azure <- local_emulated_azure(connect = list(viewer = "graph", path = "/connect"))
  for (who in list(c("ada@example.com", "Ada Example"), c("bob@example.com", "Bob Example"))) {
    session <- azure$session(who[[1]])
    expect_true(connectcreds::has_viewer_token(session = session))
    token <- connectcreds::connect_viewer_token(session = session)
    expect_identical(name_on_graph(azure, token), who[[2]])
  }
  expect_false(connectcreds::has_viewer_token(session = azure$session()))
})

test_that("the content has a token of its own", {
  skip_if_not_installed("connectcreds")
  azure <- local_emulated_azure(connect = list(content = "storage"))
  # It reads no file.
  own <- readLines(Sys.getenv("CONNECT_CONTENT_SESSION_TOKEN_FILE"), warn = FALSE)
  token <- connectcreds::connect_service_account_token(content_token = own)
  connection <- url(
    paste0(azure$blob, "?comp=list"),
    headers = c(Authorization = paste("Bearer", token$access_token))
  )
  on.exit(close(connection))
  expect_match(paste(readLines(connection, warn = FALSE), collapse = ""), "measurements")
})

test_that("it understands all forms of an error", {
  skip_if_not_installed("connectcreds")
  for (form in list(character(), "connect_errors", "old_errors")) {
    with_connect <- function() {
      azure <- local_emulated_azure(connect = list(viewer = character(), faults = form))
      connectcreds::connect_viewer_token(session = azure$session("ada@example.com"))
    }
    error <- tryCatch(with_connect(), error = identity)
    expect_match(
      paste(conditionMessage(error), conditionMessage(error$parent)),
      "No OAuth integrations have been associated"
    )
  }
})
