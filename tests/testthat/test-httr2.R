skip_if_not_installed("httr2")

answer <- function(body = "{}") list(reply(body))
refusal <- list(reply(
  status = "401 Unauthorized",
  headers = "WWW-Authenticate: Bearer realm=\"x\", error=\"invalid_token\""
))

# A server of tokens CANARY-1, CANARY-2, ... .
local_tokens <- function(..., frame = parent.frame()) {
  replies <- lapply(1:4, function(n) list(token_reply(access_token = paste0("CANARY-", n), ...)))
  address <- do.call(wire_address, replies)
  local_session(address, frame = frame)
  azure_forget()
  withr::defer(azure_forget(), frame)
  address
}

sent_tokens <- function(address) {
  vapply(requests_at(address), function(request) request$headers[["authorization"]], "")
}

test_that("the token is looked up when the request is performed", {
  tokens <- local_tokens(expires_in = 2)
  resource <- wire_address(answer(), answer())
  request <- httr2::request(resource) |> req_auth_azure("graph")
  expect_length(requests_at(tokens), 0)
  httr2::req_perform(request)
  Sys.sleep(1.2)
  httr2::req_perform(request)
  expect_true(identical(sent_tokens(resource), c("Bearer CANARY-1", "Bearer CANARY-2")))
})

test_that("a token that is refused is renewed once", {
  tokens <- local_tokens()
  resource <- wire_address(refusal, answer("{\"ok\":true}"))
  response <- httr2::request(resource) |> req_auth_azure("graph") |> httr2::req_perform()
  expect_true(httr2::resp_body_json(response)$ok)
  expect_true(identical(sent_tokens(resource), c("Bearer CANARY-1", "Bearer CANARY-2")))

  stubborn <- wire_address(refusal)
  request <- httr2::request(stubborn) |> req_auth_azure("graph")
  expect_error(httr2::req_perform(request), class = "httr2_http_401")
  expect_length(requests_at(stubborn), 2)
  expect_length(requests_at(tokens), 3)
})

test_that("no way of showing the request shows the token", {
  local_tokens()
  request <- httr2::request(wire_address(answer())) |> req_auth_azure("graph")
  before <- c(capture.output(print(request)), capture.output(str(request)))
  httr2::req_perform(request)
  shown <- c(
    before,
    capture.output(print(request)),
    capture.output(str(request)),
    capture.output(print(httr2::last_request())),
    capture.output(invisible(httr2::req_perform(httr2::req_verbose(request)))),
    if (requireNamespace("httpuv", quietly = TRUE)) capture.output(httr2::req_dry_run(request))
  )
  # The request was shown, its token was not.
  expect_true(any(grepl("Authorization: <REDACTED>", shown, ignore.case = TRUE)))
  expect_false(any(grepl(canary, gsub("http://[^ ]*", "", shown))))
})

test_that("without a session the error is ours", {
  local_session(NA)
  azure_forget()
  request <- httr2::request("http://127.0.0.1:1") |> req_auth_azure("graph")
  expect_error(httr2::req_perform(request), class = "entrar_error_no_session")
  expect_error(req_auth_azure(httr2::request("http://x"), 7), class = "entrar_error_bad_resource")
})
