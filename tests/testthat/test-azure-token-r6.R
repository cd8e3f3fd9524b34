skip_if_not_installed("R6")

azure_token_from <- function(...) {
  local_session(wire_address(list(token_reply(...))), frame = parent.frame())
  getDelegatedAzureToken("https://management.azure.com/", as = "AzureToken")
}

test_that("it has every field and method that rstudioapi's has", {
  token <- azure_token_from()
  expect_s3_class(token, c("AzureToken", "R6"), exact = TRUE)
  expect_true(R6::is.R6(token))
  fields <- c(
    c("version", "resource", "scope", "tenant", "aad_host", "auth_type", "client"),
    c("token_args", "authorize_args", "credentials")
  )
  methods <- c("cache", "hash", "validate", "can_refresh", "refresh", "print")
  expect_true(all(c(fields, methods) %in% names(token)))
  expect_identical(token$version, 1)
  expect_identical(token$auth_type, "delegated")
  expect_identical(token$resource, "https://management.azure.com/")
  expect_match(token$hash(), "^[0-9a-f]{32}$")
  expect_true(token$can_refresh())
  expect_null(token$cache())

  expect_s3_class(token$credentials, "entrar_token")
  expect_identical(as.numeric(token$credentials$expires_on), token$credentials$expires_at)
})

test_that("the tenant is the token's, and never NULL", {
  expect_identical(azure_token_from(access_token = web_token(tid = "contoso"))$tenant, "contoso")
  expect_identical(azure_token_from()$tenant, "organizations")
})

test_that("the app is the token's, and a string", {
  expect_identical(azure_token_from(access_token = ada())$client, list(client_id = "app-1"))
  expect_identical(
    azure_token_from(access_token = web_token(azp = "app-2"))$client,
    list(client_id = "app-2")
  )
  expect_identical(azure_token_from()$client, list(client_id = ""))
})

test_that("it is valid until shortly before it expires", {
  expect_true(azure_token_from()$validate())
  expect_true(azure_token_from(expires_in = 20)$validate())
  expect_false(azure_token_from(expires_in = 0)$validate())
  # One whose expiry nobody knows is good for a minute.
  local_session(wire_address(list(reply("{\"token\":{\"access_token\":\"opaque\"}}"))))
  expect_true(getDelegatedAzureToken("r", as = "AzureToken")$validate())
  expect_identical(renewal_time(1000, NA_real_), 1060)
  expect_identical(renewal_time(1000, 4600), 4300)
})

test_that("refresh() gets a new token into the same object", {
  first <- token_reply(access_token = "CANARY-1", expires_in = 0)
  local_session(wire_address(list(first), list(token_reply(access_token = "CANARY-2"))))
  token <- getDelegatedAzureToken(storage, as = "AzureToken")
  alias <- token
  expect_false(token$validate())
  expect_identical(token$refresh(), token)
  expect_true(alias$validate())
  expect_true(identical(alias$credentials$access_token, "CANARY-2"))
})

test_that("an old token that serves on is not called valid again", {
  local_session(wire_address(list(reply(status = "500 Internal Server Error"))))
  azure_forget()
  token <- new_azure_token(kept_token_to_renew(storage))
  expect_false(token$validate())
  expect_warning(token$refresh(), "The old token is used while it is valid")
  expect_silent(token$refresh())
  expect_false(token$validate())
  azure_forget()
})

test_that("a copy for another resource refreshes for that one", {
  address <- wire_address(list(token_reply()))
  local_session(address)
  token <- getDelegatedAzureToken("https://management.azure.com/", as = "AzureToken")
  copy <- token$clone()
  copy$resource <- "https://graph.microsoft.com/"
  copy$refresh()
  expect_match(requests_at(address)[[2]]$body, "https://graph.microsoft.com/", fixed = TRUE)
})

test_that("no way of showing it shows the secret", {
  token <- azure_token_from()
  shown <- c(
    capture.output(print(token)),
    capture.output(str(token)),
    capture.output(token$credentials)
  )
  expect_false(any(grepl(canary, shown)))
  token$credentials$expires_at <- 1600000000
  withr::local_timezone("UTC")
  expect_snapshot(print(token))
})

test_that("it shows whose it is, and for whom if that is somebody else", {
  withr::local_timezone("UTC")
  token <- azure_token_from(access_token = ada())
  token$credentials$expires_at <- 1600000000
  expect_snapshot(print(token))
})

test_that("a bad `as` gets R's usual error", {
  expect_error(getDelegatedAzureToken(storage, as = "oops"), "'arg' should be one of")
})

test_that("without R6 it is asked for by name", {
  script <- withr::local_tempfile(
    lines = c(
      "unlockBinding('requireNamespace', baseenv())",
      "assign('requireNamespace', function(...) FALSE, baseenv())",
      "tryCatch(entrar:::need_r6(), error = function(e) cat(conditionMessage(e)))"
    )
  )
  output <- system2(
    file.path(R.home("bin"), "Rscript"),
    c("--vanilla", script),
    stdout = TRUE,
    stderr = TRUE
  )
  expect_match(paste(output, collapse = "\n"), "needs the R6 package")
})
