storage <- "https://storage.azure.com"

test_that("a token is a list with the fields that rstudioapi has", {
  local_session(wire_address(list(token_reply())))
  before <- floor(as.numeric(Sys.time()))
  token <- getDelegatedAzureToken(storage)
  after <- ceiling(as.numeric(Sys.time()))

  expect_s3_class(token, "entrar_token", exact = TRUE)
  expect_true(is.list(token))
  expect_named(token, c("access_token", "token_type", "scope", "expires_at"))
  expect_identical(token$access_token, canary)
  expect_identical(token$token_type, "Bearer")
  expect_identical(token$scope, "a b")
  expect_type(token$expires_at, "double")
  expect_identical(token$expires_at, floor(token$expires_at))
  expect_gte(token$expires_at, before + 3599)
  expect_lte(token$expires_at, after + 3599)
})

test_that("the request is the one that Workbench knows", {
  cookie <- canary_cookie()
  address <- wire_address(list(token_reply()))
  local_session(paste0(address, "/base//"), cookie)
  getDelegatedAzureToken("https://database.windows.net/")

  request <- requests_at(address)[[1]]
  expect_identical(request$method, "POST")
  expect_true(endsWith(request$path, "/base/delegated_azure_token"))
  expect_identical(
    request$body,
    "{\"method\":\"delegated_azure_token\",\"params\":[\"https://database.windows.net/\"]}"
  )
  expect_identical(request$headers[["content-type"]], "application/json")
  expect_true(identical(request$headers[["x-rs-session-server-rpc-cookie"]], cookie))
})

test_that("what the server leaves out is filled in, and what is not ours is left out", {
  bare <- reply(
    "{\"token\":{\"access_token\":\"opaque\",\"refresh_token\":\"r\",\"ext_expires_in\":1}}"
  )
  local_session(wire_address(list(bare)))
  token <- getDelegatedAzureToken(storage)

  expect_named(token, c("access_token", "token_type", "scope", "expires_at"))
  expect_identical(token$token_type, "Bearer")
  expect_identical(token$scope, NA_character_)
  expect_identical(token$expires_at, NA_real_)
})

test_that("an id_token is kept when it is sent", {
  local_session(wire_address(list(token_reply(id_token = "CANARY-id"))))
  expect_named(
    getDelegatedAzureToken(storage),
    c("access_token", "token_type", "scope", "expires_at", "id_token")
  )
})

test_that("a slow reply does not make a token look fresher than it is", {
  address <- wire_address(list(list("wait", 1.5), token_reply(expires_in = 100)))
  local_session(address)
  expires_at <- getDelegatedAzureToken(storage)$expires_at
  # Counted from the reply it would be later, since the reply came 1.5 seconds after the request.
  expect_lte(expires_at, requests_at(address)[[1]]$time + 100)
})

test_that("every call is a fresh exchange", {
  address <- wire_address(list(token_reply()))
  local_session(address)
  for (i in 1:3) {
    getDelegatedAzureToken(storage)
  }
  expect_length(requests_at(address), 3)
})

test_that("an error names the user's call, not ours", {
  local_session(NA)
  ask <- function() getDelegatedAzureToken("https://vault.azure.net")
  error <- tryCatch(ask(), error = identity)
  expect_identical(
    conditionCall(error),
    quote(getDelegatedAzureToken("https://vault.azure.net"))
  )
})

test_that("what is not one string is refused before anything is sent", {
  address <- wire_address(list(token_reply()))
  local_session(address)
  broken <- "\xff\xfe"
  Encoding(broken) <- "UTF-8"
  for (bad in c(broken, strrep("a", 1e6))) {
    expect_error(getDelegatedAzureToken(bad), class = "entrar_error_bad_resource")
  }
  for (bad in list(
    NULL,
    NA,
    NA_character_,
    character(),
    c("a", "b"),
    1,
    list("a"),
    TRUE,
    "",
    " "
  )) {
    expect_error(getDelegatedAzureToken(bad), class = "entrar_error_bad_resource")
  }
  expect_error(getDelegatedAzureToken(), class = "entrar_error_bad_resource")
  expect_length(requests_at(address), 0)
})
