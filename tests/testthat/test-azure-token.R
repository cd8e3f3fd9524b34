numbered <- function(n, ...) list(token_reply(access_token = paste0("CANARY-", n), ...))

# A session whose server hands out CANARY-1, CANARY-2, ... ; nothing is kept from before.
local_numbered <- function(..., frame = parent.frame()) {
  address <- wire_address(numbered(1, ...), numbered(2, ...), numbered(3, ...), numbered(4, ...))
  local_session(address, frame = frame)
  azure_forget()
  withr::defer(azure_forget(), frame)
  address
}

# Secrets are compared where a failing test does not print them.
expect_number <- function(token, number) expect_true(identical(token, paste0("CANARY-", number)))

test_that("a token is a string that is asked for once", {
  address <- local_numbered()
  for (i in 1:100) {
    expect_number(azure_token(storage), 1)
  }
  expect_length(requests_at(address), 1)
})

test_that("each resource has its own token, to the letter, and a name stands for its resource", {
  address <- local_numbered()
  expect_number(azure_token(storage), 1)
  expect_number(azure_token(paste0(storage, "/")), 2)
  expect_number(azure_token("storage"), 1)
  expect_number(azure_token("graph"), 3)
  expect_number(azure_token("https://graph.microsoft.com"), 3)
  expect_length(requests_at(address), 3)
})

test_that("a token is renewed when half of a short lifetime is over", {
  local_numbered(expires_in = 2)
  expect_number(azure_token(storage), 1)
  Sys.sleep(1.2)
  expect_number(azure_token(storage), 2)
})

test_that("tokens that are born dead cause one exchange a call, and no loop", {
  address <- local_numbered(expires_in = 0)
  for (i in 1:3) {
    expect_number(azure_token(storage), i)
  }
  expect_length(requests_at(address), 3)
})

test_that("refresh = TRUE renews, and the new token is kept", {
  local_numbered()
  expect_number(azure_token(storage), 1)
  expect_number(azure_token(storage, refresh = TRUE), 2)
  expect_number(azure_token(storage), 2)
  for (bad in list(NA, "yes", NULL, c(TRUE, FALSE))) {
    expect_error(azure_token(storage, refresh = bad), "must be TRUE or FALSE")
  }
})

test_that("what is forgotten is asked for again", {
  local_numbered()
  expect_number(azure_token(storage), 1)
  expect_null(withVisible(azure_forget())$value)
  expect_number(azure_token(storage), 2)
})

test_that("another session never gets this session's token", {
  first <- local_numbered()
  expect_number(azure_token(storage), 1)
  second <- wire_address(list(token_reply(access_token = "CANARY-other")))
  withr::with_envvar(c(RS_SERVER_ADDRESS = second), {
    expect_true(identical(azure_token(storage), "CANARY-other"))
  })
  withr::with_envvar(c(RS_SESSION_RPC_COOKIE = canary_cookie("bob")), {
    expect_number(azure_token(storage), 2)
  })
})

test_that("getDelegatedAzureToken() takes no token from here, and leaves none", {
  local_numbered()
  expect_number(azure_token(storage), 1)
  expect_number(getDelegatedAzureToken(storage)$access_token, 2)
  expect_number(azure_token(storage), 1)
})

test_that("while renewing fails the old token serves, with one warning", {
  address <- wire_address(list(reply(status = "500 Internal Server Error")))
  local_session(address)
  azure_forget()
  kept_token_to_renew(storage)
  expect_warning(token <- azure_token(storage), "The old token is used while it is valid")
  expect_number(token, 1)
  expect_silent(token <- azure_token(storage))
  expect_number(token, 1)
  # The next attempt is due after 30 seconds only.
  expect_length(requests_at(address), 1)
  expect_error(azure_token(storage, refresh = TRUE), class = "entrar_error_server_error")
  azure_forget()
})

test_that("an error that asking again cannot cure is not asked about again", {
  body <- "{\"oauth2_error\":{\"error\":\"invalid_grant\",\"error_description\":\"AADSTS700082: x\"}}"
  address <- wire_address(list(reply(body)))
  local_session(address)
  azure_forget()
  for (i in 1:3) {
    error <- expect_error(azure_token(storage), class = "entrar_error_sign_in_required")
    expect_identical(error$aadsts, 700082L)
  }
  expect_identical(conditionCall(error)[[1]], quote(azure_token))
  expect_length(requests_at(address), 1)
  expect_error(azure_token(storage, refresh = TRUE), class = "entrar_error_sign_in_required")
  expect_length(requests_at(address), 2)
  azure_forget()
})

test_that("what was found without asking is looked at again", {
  local_session("https://127.0.0.1:1", REQUESTS_CA_BUNDLE = "/nowhere.pem")
  azure_forget()
  error <- expect_error(azure_token(storage), class = "entrar_error_unreachable")
  expect_match(conditionMessage(error), "/nowhere.pem")
  withr::local_envvar(REQUESTS_CA_BUNDLE = NA)
  error <- expect_error(azure_token(storage), class = "entrar_error_unreachable")
  expect_false(grepl("/nowhere.pem", conditionMessage(error)))
})

test_that("what the server asks to wait is waited", {
  throttled <- list(reply(status = "429 Too Many Requests", headers = "Retry-After: 120"))
  address <- wire_address(throttled)
  local_session(address)
  azure_forget()
  for (refresh in c(FALSE, FALSE, TRUE)) {
    error <- expect_error(azure_token(storage, refresh), class = "entrar_error_throttled")
    expect_lte(error$retry_after, 120)
    expect_gt(error$retry_after, 100)
  }
  Sys.sleep(0.2)
  error <- expect_error(azure_token(storage), class = "entrar_error_throttled")
  expect_lt(error$retry_after, 119.9)
  expect_length(requests_at(address), 1)
  azure_forget()
})

test_that("an answer ends what the server asked to wait", {
  busy <- reply(status = "503 Service Unavailable", headers = "Retry-After: 86400")
  address <- wire_address(list(busy), list(token_reply()))
  local_session(address)
  azure_forget()
  expect_error(azure_token(storage), class = "entrar_error_unavailable")
  expect_error(azure_token(storage), class = "entrar_error_unavailable")
  expect_length(requests_at(address), 1)
  getDelegatedAzureToken(storage)
  expect_type(azure_token(storage), "character")
  expect_length(requests_at(address), 3)
  azure_forget()
})

test_that("bad arguments are errors, as everywhere", {
  local_numbered()
  expect_error(azure_token(), class = "entrar_error_bad_resource")
  for (bad in list(NULL, NA, 1, c("a", "b"), "")) {
    expect_error(azure_token(bad), class = "entrar_error_bad_resource")
  }
  error <- expect_error(azure_token("storge"), class = "entrar_error_bad_resource")
  expect_match(conditionMessage(error), "did you mean \"storage\"?", fixed = TRUE)
})

test_that("a forked child gets a token of its own", {
  skip_on_os("windows")
  address <- local_numbered()
  expect_number(azure_token(storage), 1)
  children <- parallel::mclapply(1:2, function(i) azure_token(storage) == azure_token(storage))
  expect_identical(children, list(TRUE, TRUE))
  expect_number(azure_token(storage), 1)
  expect_length(requests_at(address), 3)
})

test_that("headers hold the token and do not show it", {
  local_numbered()
  headers <- azure_headers(storage)
  expect_named(headers, "Authorization")
  expect_true(identical(headers$Authorization, "Bearer CANARY-1"))
  shown <- c(capture.output(print(headers)), capture.output(str(headers)), format(headers))
  expect_false(any(grepl(canary, shown)))
  expect_identical(format(headers), "Authorization: Bearer <REDACTED>")

  more <- c(headers, list(Accept = "application/json"))
  shown <- c(
    capture.output(print(more)),
    capture.output(print(rev(more))),
    capture.output(print(more[1]))
  )
  expect_false(any(grepl(canary, shown)))
  expect_identical(more$Accept, "application/json")

  other <- c(list("x-ms-version" = NULL), stats::setNames(headers, "authorization"), Accept = "a")
  other <- c(headers[0], other, Proxy = paste("Bearer", canary))
  expect_identical(
    format(other),
    c(
      "x-ms-version: ",
      "authorization: Bearer <REDACTED>",
      "Accept: a",
      "Proxy: Bearer <REDACTED>"
    )
  )
  expect_identical(format(headers[0]), character())
  expect_identical(format(unname(headers)), ": Bearer <REDACTED>")
  expect_true(identical(more$Authorization, "Bearer CANARY-1"))
})

test_that("an AzureToken shares what is kept", {
  skip_if_not_installed("R6")
  local_numbered()
  object <- getDelegatedAzureToken(storage, as = "AzureToken")
  expect_number(azure_token(storage), 1)
  object <- new_azure_token(kept_token_to_renew(storage))
  expect_false(object$validate())
  expect_number(azure_token(storage), 2)
  object$refresh()
  expect_number(object$credentials$access_token, 2)
  expect_true(object$validate())
  # Who asks while it is good wants a new one.
  object$refresh()
  expect_number(object$credentials$access_token, 3)
  expect_number(azure_token(storage), 3)
})

test_that("a loop of thousands of requests renews an AzureToken once it is due", {
  skip_if_not_installed("R6")
  address <- wire_address(numbered(1, expires_in = 2), numbered(2))
  local_session(address)
  azure_forget()
  object <- getDelegatedAzureToken(storage, as = "AzureToken")
  left <- 5000
  while (left > 0) {
    if (!object$validate()) {
      object$refresh()
    }
    left <- left - identical(object$credentials$access_token, "CANARY-2")
  }
  expect_length(requests_at(address), 2)
  azure_forget()
})

test_that("a million calls leave memory as it was", {
  skip_if_not(file.exists("/proc/self/status"), "no /proc to read memory from")
  local_numbered()
  ask <- function(times) {
    for (i in seq_len(times)) {
      azure_token(storage)
    }
  }
  ask(2e5)
  # R's heap may grow once by itself; what leaks grows each time.
  for (round in 1:3) {
    before <- resources()
    ask(1e6)
    grown <- resources()[["memory"]] - before[["memory"]]
    if (grown < 3000) {
      break
    }
  }
  expect_lt(grown, 3000)
})
