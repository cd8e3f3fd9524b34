skip_if_not_installed("httr2")

answer <- function(body = "{}") list(reply(body))
challenge <- function(...) {
  list(reply(status = "401 Unauthorized", headers = paste("WWW-Authenticate:", c(...))))
}
refusal <- challenge("Bearer realm=\"x\", error=\"invalid_token\"")
# As Microsoft Graph refuses an expired token. Source: issue 24 of microsofthackathons/tdi on GitHub.
bare_refusal <- challenge(paste0(
  "Bearer realm=\"\", authorization_uri=\"https://login.microsoftonline.com/common/oauth2/authorize\", ",
  "client_id=\"00000003-0000-0000-c000-000000000000\""
))
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

  # httr2 reads the first header only.
  resource <- wire_address(
    challenge("Basic realm=\"x\"", "Bearer error=\"invalid_token\""),
    answer()
  )
  httr2::request(resource) |> req_auth_azure("graph") |> httr2::req_perform()
  expect_true(identical(sent_tokens(resource), c("Bearer CANARY-2", "Bearer CANARY-3")))
})

test_that("each time that a request is performed, a refused token is renewed", {
  skip_if_not_installed("httr2", "1.2.2")
  local_tokens()
  resource <- wire_address(bare_refusal, answer(), bare_refusal, answer())
  # The resource that is asked for last counts.
  request <- httr2::request(resource) |> req_auth_azure("storage") |> req_auth_azure("graph")
  httr2::req_perform(request)
  httr2::req_perform(request)
  expect_true(identical(sent_tokens(resource), paste0("Bearer CANARY-", c(1, 2, 2, 3))))
})

test_that("a renewed token that is refused as well is the end, also for requests in parallel", {
  skip_if_not_installed("httr2", "1.2.2")
  tokens <- local_tokens()
  stubborn <- wire_address(bare_refusal)
  request <- httr2::request(stubborn) |> req_auth_azure("graph")
  expect_error(httr2::req_perform(request), class = "httr2_http_401")
  expect_length(requests_at(stubborn), 2)
  expect_length(requests_at(tokens), 2)

  # Not even one that the server hands out expired, so that each look-up renews it.
  for (lifetime in c(3599, 0)) {
    tokens <- local_tokens(expires_in = lifetime)
    stubborn <- replicate(3, wire_address(bare_refusal))
    base <- httr2::request(stubborn[[1]]) |> req_auth_azure("graph")
    requests <- lapply(stubborn, function(url) httr2::req_url(base, url))
    failures <- httr2::req_perform_parallel(requests, on_error = "continue", progress = FALSE)
    expect_identical(
      unique(lapply(failures, function(failure) class(failure)[[1]])),
      list("httr2_http_401")
    )
    expect_identical(
      vapply(stubborn, function(url) length(requests_at(url)), 0L),
      rep(2L, 3),
      ignore_attr = TRUE
    )
    if (lifetime > 0) {
      expect_length(requests_at(tokens), 2)
    }
  }
})

test_that("requests in parallel share the token that the first refusal renewed", {
  skip_if_not_installed("httr2", "1.2.2")
  tokens <- local_tokens()
  slow <- c(list(list("wait", 2)), bare_refusal)
  resources <- replicate(8, wire_address(slow, answer("{\"ok\":true}")))
  base <- httr2::request(resources[[1]]) |> req_auth_azure("graph")
  requests <- lapply(resources, function(url) httr2::req_url(base, url))
  responses <- httr2::req_perform_parallel(requests, progress = FALSE)
  expect_true(all(vapply(responses, function(response) httr2::resp_body_json(response)$ok, NA)))
  expect_length(requests_at(tokens), 2)
})

# Requests that differ in what they send to the one address, as those of Graph's $batch do.
batch <- function(base, n) {
  lapply(seq_len(n), function(i) httr2::req_body_json(base, list(number = i)))
}

test_that("each of several requests to one address is sent once more with the renewed token", {
  skip_if_not_installed("httr2", "1.2.2")
  tokens <- local_tokens()
  slow <- c(list(list("wait", 0.3)), bare_refusal)
  resource <- do.call(wire_address, c(rep(list(slow), 3), list(answer("{\"ok\":true}"))))
  requests <- httr2::request(resource) |> req_auth_azure("graph") |> batch(3)
  responses <- httr2::req_perform_parallel(requests, progress = FALSE)
  expect_true(all(vapply(responses, function(response) httr2::resp_body_json(response)$ok, NA)))
  expect_true(identical(
    sent_tokens(resource),
    rep(c("Bearer CANARY-1", "Bearer CANARY-2"), each = 3)
  ))
  expect_length(requests_at(tokens), 2)
})

test_that("each of several requests to one address is sent no more than twice", {
  skip_if_not_installed("httr2", "1.2.2")
  tokens <- local_tokens()
  stubborn <- wire_address(bare_refusal)
  requests <- httr2::request(stubborn) |> req_auth_azure("graph") |> batch(3)
  httr2::req_perform_parallel(requests, on_error = "continue", progress = FALSE)
  bodies <- vapply(requests_at(stubborn), function(request) request$body, "")
  expect_identical(sort(bodies), rep(sprintf("{\"number\":%d}", 1:3), each = 2))
  expect_length(requests_at(tokens), 2)
})

test_that("a request that was sent once more in parallel is so again, when its token is refused later", {
  skip_if_not_installed("httr2", "1.2.2")
  local_tokens()
  resource <- wire_address(bare_refusal, answer(), bare_refusal, answer())
  request <- httr2::request(resource) |> req_auth_azure("graph")
  httr2::req_perform_parallel(list(request), progress = FALSE)
  # Now that was more than a minute ago.
  memory <- environment(request$policies$retry_is_transient)
  memory$renewed <- memory$renewed - 61
  memory$repeated <- memory$repeated - 61
  httr2::req_perform_parallel(list(request), progress = FALSE)
  expect_length(requests_at(resource), 4)
  expect_length(memory$repeated, 1)
})

test_that("a request is told from others by what it sends", {
  skip_if_not_installed("httr2", "1.2.2")
  base <- httr2::request("https://graph.microsoft.com/v1.0/$batch")
  others <- list(
    base,
    httr2::req_url_query(base, a = 1),
    httr2::req_method(base, "PUT"),
    httr2::req_headers(base, a = "b"),
    httr2::req_headers(base, a = "b", .redact = "a"),
    httr2::req_body_multipart(base, a = "b")
  )
  others <- c(others, batch(base, 2))
  hashes <- vapply(others, request_hash, "")
  expect_length(unique(hashes), 8)
  expect_identical(vapply(others, request_hash, ""), hashes)
  expect_identical(
    request_hash(req_auth_azure(base, "graph")),
    request_hash(req_auth_azure(base, "storage"))
  )
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

test_that("a token that cannot be renewed is the error of that request alone", {
  skip_if_not_installed("httr2", "1.2.2")
  revoked <- list(reply("{\"result\":false,\"oauth2_error\":{\"error\":\"invalid_grant\"}}"))
  local_session(wire_address(list(token_reply()), revoked))
  azure_forget()
  withr::defer(azure_forget())
  request <- httr2::request(wire_address(bare_refusal)) |> req_auth_azure("graph")
  expect_error(httr2::req_perform(request), class = "entrar_error_sign_in_required")
  expect_error(httr2::req_perform(request), class = "entrar_error_sign_in_required")
  elsewhere <- httr2::req_url(request, wire_address(answer()))
  expect_identical(httr2::resp_status(httr2::req_perform(elsewhere)), 200L)
})

test_that("a redirect takes the token to no other host", {
  local_tokens()
  other <- sub("127.0.0.1", "localhost", wire_address(answer()), fixed = TRUE)
  same <- wire_address(answer())
  redirect <- function(to) list(reply(status = "302 Found", headers = paste("Location:", to)))
  httr2::request(wire_address(redirect(other))) |> req_auth_azure("graph") |> httr2::req_perform()
  expect_false("authorization" %in% names(requests_at(other)[[1]]$headers))
  httr2::request(wire_address(redirect(same))) |> req_auth_azure("graph") |> httr2::req_perform()
  expect_true(identical(sent_tokens(same), "Bearer CANARY-1"))
})

# All that this prints, as output or as messages.
printed <- function(code) {
  messages <- testthat::capture_messages(output <- capture.output(code))
  c(output, messages)
}

# curl looks for a free port before it listens there: somebody else may have taken it by then.
dry_run <- function(request) {
  for (attempt in 1:5) {
    tried <- tryCatch(httr2::req_dry_run(request), error = identity)
    if (!inherits(tried, "error")) {
      return(tried)
    }
  }
  stop(tried)
}

test_that("no way of showing the request shows the token", {
  local_tokens()
  request <- httr2::request(wire_address(answer())) |> req_auth_azure("graph")
  before <- c(printed(print(request)), printed(str(request)))
  httr2::req_perform(request)
  shown <- c(
    before,
    printed(print(request)),
    printed(str(request)),
    printed(print(httr2::last_request())),
    printed(httr2::req_perform(httr2::req_verbose(request))),
    if (requireNamespace("httpuv", quietly = TRUE)) printed(dry_run(request))
  )
  # The request was shown, its token was not.
  expect_true(any(grepl("Authorization: .?<REDACTED>", shown, ignore.case = TRUE)))
  expect_false(any(grepl(canary, gsub("http://[^ ]*", "", shown))))
})

test_that("nothing that is kept of a request holds the token", {
  skip_if_not_installed("httr2", "1.2.0")
  # One that does not stand in this file, whose text an error may bring along.
  secret <- paste0(canary, Sys.getpid())
  local_session(wire_address(list(token_reply(access_token = secret))))
  azure_forget()
  withr::defer(azure_forget())
  directory <- withr::local_tempdir()
  request <- httr2::request(wire_address(answer())) |> req_auth_azure("graph")
  response <- httr2::req_perform(httr2::req_cache(request, directory))
  failing <- httr2::req_url(request, wire_address(list(reply(status = "404 Not Found"))))
  error <- expect_error(httr2::req_perform(failing), class = "httr2_http_404")
  expect_true(grepl(secret, azure_token("graph")))
  kept <- list(request, response, error, httr2::last_request(), httr2::last_response())
  if (requireNamespace("httpuv", quietly = TRUE)) {
    kept <- c(kept, list(httr2::req_dry_run(request, quiet = TRUE)))
  }
  expect_false(any(grepl(secret, rawToChar(serialize(lapply(kept, unclass), NULL, ascii = TRUE)))))
  expect_false(any(grepl(secret, printed(str(kept)))))
  for (file in list.files(directory, full.names = TRUE)) {
    expect_false(any(grepl(secret, rawToChar(serialize(readRDS(file), NULL, ascii = TRUE)))))
  }
})

test_that("a request that was saved can be performed, and is no larger than it must be", {
  local_tokens()
  body <- strrep("x", 1e5)
  plain <- httr2::request(wire_address(answer())) |> httr2::req_body_raw(body)
  saved <- serialize(req_auth_azure(plain, "graph"), NULL)
  expect_lt(length(saved), 1.5e5)
  expect_identical(httr2::resp_status(httr2::req_perform(unserialize(saved))), 200L)
})

test_that("without a session the error is ours", {
  local_session(NA)
  azure_forget()
  request <- httr2::request("http://127.0.0.1:1") |> req_auth_azure("graph")
  expect_error(httr2::req_perform(request), class = "entrar_error_no_session")
  expect_error(req_auth_azure(httr2::request("http://x"), 7), class = "entrar_error_bad_resource")
})
