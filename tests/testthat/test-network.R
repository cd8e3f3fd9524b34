# Faults of the network between us and the server.

test_that("a server that cannot be reached is named, at once", {
  reset <- wire_address(list(list("reset")))
  expect_messages(c(
    failure("refused", "unreachable", "http://127.0.0.1:1", retryable = TRUE),
    failure("no such host", "unreachable", "http://server.invalid", retryable = TRUE),
    failure("reset after the request", "unreachable", reset),
    failure("closed after the request", "unreachable", wire_address(list(list("close"))))
  ))
  expect_length(requests_at(reset), 3)
})

test_that("a server that does not answer in time is given up", {
  withr::local_options(entrar.timeout = 1)
  head <- "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"
  expect_messages(c(
    failure(
      "accepts and never answers",
      "timeout",
      wire_address(list(list("wait", 60))),
      retryable = TRUE
    ),
    failure("one byte a second", "timeout", wire_address(list(list("drip", head, 1)))),
    failure(
      "one byte a second, in the body",
      "timeout",
      wire_address(list(list("send", head), list("drip", strrep(" ", 60), 1)))
    )
  ))
})

test_that("a wait that does not fit the deadline is not begun", {
  busy <- reply(status = "503 Service Unavailable", headers = "Retry-After: 60")
  address <- wire_address(list(busy))
  failure("unavailable for longer", "unavailable", address, retry_after = 60)
  expect_length(requests_at(address), 1)
})

test_that("connections that the server closes in the meantime do no harm", {
  address <- wire_address(list(token_reply(), list("close")))
  local_session(address)
  for (i in 1:50) {
    expect_s3_class(getDelegatedAzureToken(storage), "entrar_token")
  }
  late <- wire_address(list(token_reply(), list("wait", 0.01), list("close")))
  local_session(late)
  for (i in 1:50) {
    expect_s3_class(getDelegatedAzureToken(storage), "entrar_token")
    if (i %% 5 == 0) Sys.sleep(0.02)
  }
})

test_that("one broken connection is retried silently", {
  address <- wire_address(list(list("reset")), list(token_reply()))
  local_session(address)
  expect_silent(getDelegatedAzureToken(storage))
  expect_length(requests_at(address), 2)
})

test_that("a redirect is not followed, and no cookie leaves", {
  elsewhere <- wire_address(list(token_reply()), port = "good", scheme = "https")
  redirect <- reply(
    status = "307 Temporary Redirect",
    headers = paste0("Location: ", elsewhere, "/?secret=", canary)
  )
  expect_messages(c(
    failure("to another port", "bad_reply", wire_address(list(redirect))),
    failure(
      "to nowhere",
      "bad_reply",
      wire_address(list(reply(status = "302 Found", headers = "Location: ///")))
    )
  ))
  expect_length(requests_at(elsewhere), 0)
})

test_that("a proxy serves other hosts, and never this machine", {
  proxy <- sprintf("http://127.0.0.1:%d", wire_server()$ports[["http"]])
  address <- wire_address(list(token_reply()))

  local_session(address, http_proxy = "http://127.0.0.1:1", all_proxy = "http://127.0.0.1:1")
  expect_s3_class(getDelegatedAzureToken(storage), "entrar_token")
  expect_length(requests_at(address), 1)

  through <- sub("127.0.0.1:[0-9]+", "server.invalid", wire_address(list(token_reply())))
  local_session(through, http_proxy = proxy)
  expect_s3_class(suppressWarnings(getDelegatedAzureToken(storage)), "entrar_token")

  expect_messages(c(
    failure(
      "not for this host",
      "unreachable",
      through,
      env = c(http_proxy = proxy, no_proxy = "server.invalid")
    ),
    failure("no proxy there", "unreachable", through, env = c(http_proxy = "http://127.0.0.1:1")),
    failure(
      "no address of a proxy",
      "unreachable",
      through,
      env = c(http_proxy = "http://CANARY:CANARY@[")
    )
  ))
})

test_that("plain http to another host works, with one warning", {
  proxy <- sprintf("http://127.0.0.1:%d", wire_server()$ports[["http"]])
  local_session(
    sub("127.0.0.1:[0-9]+", "server.invalid", wire_address(list(token_reply()))),
    http_proxy = proxy
  )
  expect_warning(getDelegatedAzureToken(storage), "plain http")
  expect_silent(getDelegatedAzureToken(storage))
})

test_that("the warning of plain http comes though the call fails", {
  proxy <- sprintf("http://127.0.0.1:%d", wire_server()$ports[["http"]])
  local_session(
    sub("127.0.0.1:[0-9]+", "server.invalid", wire_address(list(reply(status = "500 No")))),
    http_proxy = proxy
  )
  rm(list = ls(warned), envir = warned)
  expect_warning(
    expect_error(getDelegatedAzureToken(storage), class = "entrar_error_server_error"),
    "plain http"
  )
  # Without a cookie nothing goes out.
  rm(list = ls(warned), envir = warned)
  local_session("http://server.invalid", cookie = NA)
  expect_no_warning(
    expect_error(getDelegatedAzureToken(storage), class = "entrar_error_bad_cookie")
  )
})

test_that("this machine has three names", {
  for (host in c("127.0.0.1", "localhost")) {
    local_session(wire_address(list(token_reply()), host = host))
    expect_silent(getDelegatedAzureToken(storage))
  }
  if (wire_server()$six != 0) {
    local_session(wire_address(list(token_reply()), host = "[::1]", port = "six"))
    expect_silent(getDelegatedAzureToken(storage))
  }
})
