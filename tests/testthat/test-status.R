# HTTP statuses and JSON-RPC codes.

by_status <- function(status, kind, attempts, ..., headers = character()) {
  address <- wire_address(list(reply(
    "<html>CANARY</html>",
    status,
    c("Content-Type: text/html", headers)
  )))
  label <- paste(c(status, headers), collapse = ", ")
  shown <- failure(label, kind, address, http_status = as.integer(substr(status, 1, 3)), ...)
  expect_length(requests_at(address), attempts)
  shown
}

test_that("each status has its kind and its number of attempts", {
  expect_messages(c(
    by_status("400 Bad Request", "bad_cookie", 1),
    by_status("401 Unauthorized", "bad_cookie", 1),
    by_status("403 Forbidden", "bad_cookie", 1),
    by_status("404 Not Found", "server_too_old", 1),
    by_status("405 Method Not Allowed", "server_too_old", 1),
    by_status("418 I'm a teapot", "server_error", 1, retryable = FALSE),
    by_status("429 Too Many Requests", "throttled", 1, retryable = TRUE, retry_after = NA_real_),
    by_status("500 Internal Server Error", "server_error", 1),
    by_status("502 Bad Gateway", "unavailable", 3, retryable = TRUE),
    by_status("503 Service Unavailable", "unavailable", 3),
    by_status("504 Gateway Timeout", "unavailable", 3)
  ))
})

test_that("Retry-After is honoured as seconds and as a date, and ignored when it is absurd", {
  expect_messages(by_status(
    "429 Too Many Requests",
    "throttled",
    1,
    headers = "Retry-After: 120",
    retry_after = 120
  ))
  by_status(
    "429 Too Many Requests",
    "throttled",
    1,
    headers = "Retry-After: soon",
    retry_after = NA_real_
  )
  by_status(
    "429 Too Many Requests",
    "throttled",
    1,
    headers = "Retry-After: -5",
    retry_after = NA_real_
  )
  by_status(
    "429 Too Many Requests",
    "throttled",
    1,
    headers = "Retry-After: 99999999999",
    retry_after = NA_real_
  )

  date <- withr::with_locale(
    c(LC_TIME = "C"),
    format(Sys.time() + 300, "%a, %d %b %Y %H:%M:%S GMT", tz = "GMT")
  )
  busy <- wire_address(list(reply(
    status = "429 Too Many Requests",
    headers = paste("Retry-After:", date)
  )))
  local_session(busy)
  error <- expect_error(getDelegatedAzureToken(storage), class = "entrar_error_throttled")
  expect_gt(error$retry_after, 250)
  expect_lte(error$retry_after, 300)
})

test_that("a passing fault is survived", {
  busy <- reply(status = "503 Service Unavailable", headers = "Retry-After: 1")
  address <- wire_address(list(busy), list(token_reply()))
  local_session(address)
  started <- Sys.time()
  expect_s3_class(getDelegatedAzureToken(storage), "entrar_token")
  expect_gte(as.numeric(Sys.time() - started, units = "secs"), 1)
  expect_length(requests_at(address), 2)
})

test_that("each JSON-RPC code has its kind and its number of attempts", {
  by_code <- function(code) {
    kind <- switch(
      as.character(code),
      "3" = "bad_cookie",
      "7" = ,
      "12" = "server_too_old",
      "2" = ,
      "13" = "unavailable",
      "server_error"
    )
    address <- wire_address(list(reply(sprintf(
      "{\"error\":{\"code\":%d,\"message\":\"m\"}}",
      code
    ))))
    shown <- failure(paste("code", code), kind, address, http_status = NA_integer_)
    expect_length(requests_at(address), switch(kind, unavailable = 3, 1))
    shown
  }
  expect_messages(unlist(lapply(c(1:13, 100, 200), by_code)))
})
