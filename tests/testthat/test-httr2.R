skip_if_not_installed("httr2")

answer <- function(body = "{}") list(reply(body))
challenge <- function(...) {
  list(reply(status = "401 Unauthorized", headers = paste("WWW-Authenticate:", c(...))))
}
refusal <- challenge("Bearer realm=\"x\", error=\"invalid_token\"")
# As Azure Storage has it.
bare_refusal <- challenge(
  "Bearer authorization_uri=https://login.example/tenant resource_id=https://storage.azure.com"
)
unavailable <- list(reply(status = "503 Service Unavailable", headers = "Retry-After: 0"))

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

test_that("a token that is refused is renewed, whatever a challenge for it says", {
  skip_if_not_installed("httr2", "1.2.2")
  tokens <- local_tokens()
  resource <- wire_address(bare_refusal, answer("{\"ok\":true}"))
  response <- httr2::request(resource) |> req_auth_azure("graph") |> httr2::req_perform()
  expect_true(httr2::resp_body_json(response)$ok)
  expect_true(identical(sent_tokens(resource), c("Bearer CANARY-1", "Bearer CANARY-2")))

  resource <- wire_address(challenge("Basic realm=\"x\"", "Bearer realm=\"x\""), answer())
  httr2::request(resource) |> req_auth_azure("graph") |> httr2::req_perform()
  expect_true(identical(sent_tokens(resource), c("Bearer CANARY-2", "Bearer CANARY-3")))
})

test_that("a renewed token that is refused as well is the end, also for requests in parallel", {
  skip_if_not_installed("httr2", "1.2.2")
  tokens <- local_tokens()
  stubborn <- wire_address(bare_refusal)
  request <- httr2::request(stubborn) |> req_auth_azure("graph")
  expect_error(httr2::req_perform(request), class = "httr2_http_401")
  expect_length(requests_at(stubborn), 2)
  expect_length(requests_at(tokens), 2)

  azure_forget()
  stubborn <- wire_address(bare_refusal)
  request <- httr2::request(stubborn) |> req_auth_azure("graph")
  failures <- httr2::req_perform_parallel(
    list(request, request),
    on_error = "continue",
    progress = FALSE
  )
  expect_s3_class(failures[[1]], "httr2_http_401")
  expect_s3_class(failures[[2]], "httr2_http_401")
  expect_lte(length(requests_at(stubborn)), 4)
  expect_lte(length(requests_at(tokens)), 4)
})

test_that("requests in parallel share the token that the first refusal renewed", {
  skip_if_not_installed("httr2", "1.2.2")
  tokens <- local_tokens()
  resources <- replicate(3, wire_address(bare_refusal, answer("{\"ok\":true}")))
  requests <- lapply(resources, function(resource) {
    httr2::request(resource) |> req_auth_azure("graph")
  })
  responses <- httr2::req_perform_parallel(requests, progress = FALSE)
  expect_true(all(vapply(responses, function(response) httr2::resp_body_json(response)$ok, NA)))
  expect_length(requests_at(tokens), 2)
})

test_that("the token is looked up again at each attempt", {
  skip_if_not_installed("httr2", "1.2.2")
  local_tokens(expires_in = 2)
  resource <- wire_address(unavailable, answer())
  httr2::request(resource) |>
    req_auth_azure("graph") |>
    httr2::req_retry(max_tries = 2, after = function(response) 1.2) |>
    httr2::req_perform()
  expect_true(identical(sent_tokens(resource), c("Bearer CANARY-1", "Bearer CANARY-2")))
})

test_that("nothing else is retried unless the request says so", {
  local_tokens()
  for (reply in list(
    unavailable,
    challenge("Basic realm=\"x\""),
    list(reply(status = "401 Unauthorized"))
  )) {
    resource <- wire_address(reply)
    request <- httr2::request(resource) |> req_auth_azure("graph")
    expect_error(httr2::req_perform(request), class = "httr2_http")
    expect_length(requests_at(resource), 1)
  }

  resource <- wire_address(unavailable, unavailable, answer())
  httr2::request(resource) |>
    httr2::req_retry(max_tries = 3, backoff = function(n) 0) |>
    req_auth_azure("graph") |>
    httr2::req_perform()
  expect_length(requests_at(resource), 3)
})

test_that("a token that cannot be renewed is the error of the request", {
  skip_if_not_installed("httr2", "1.2.2")
  revoked <- list(reply("{\"result\":false,\"oauth2_error\":{\"error\":\"invalid_grant\"}}"))
  local_session(wire_address(list(token_reply()), revoked))
  azure_forget()
  withr::defer(azure_forget())
  request <- httr2::request(wire_address(bare_refusal)) |> req_auth_azure("graph")
  expect_error(httr2::req_perform(request), class = "entrar_error_sign_in_required")
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

test_that("a request that was saved holds no token and can be performed", {
  local_tokens()
  request <- httr2::request(wire_address(answer(), answer())) |> req_auth_azure("graph")
  # In between, httr2 may keep the headers of a request that was performed.
  version <- packageVersion("httr2")
  if (version < "1.1.0" || version >= "1.2.0") {
    httr2::req_perform(request)
  }
  saved <- serialize(request, NULL, ascii = TRUE)
  expect_false(any(grepl(canary, rawToChar(saved))))
  expect_identical(httr2::resp_status(httr2::req_perform(unserialize(saved))), 200L)
})

test_that("without a session the error is ours", {
  local_session(NA)
  azure_forget()
  request <- httr2::request("http://127.0.0.1:1") |> req_auth_azure("graph")
  expect_error(httr2::req_perform(request), class = "entrar_error_no_session")
  expect_error(req_auth_azure(httr2::request("http://x"), 7), class = "entrar_error_bad_resource")
})
