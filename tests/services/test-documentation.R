# The R examples of Posit Workbench's documentation, as they stand there apart from the addresses, with
# entrar in rstudioapi's place; and the listing of containers without AzureStor.

test_that("getting an access token", {
  output <- capture.output({
    token <- entrar::getDelegatedAzureToken("https://storage.azure.com")
    access_token <- token$access_token
    expires_at <- token$expires_at
    cat("Token expires at:", format(as.POSIXct(expires_at, origin = "1970-01-01")), "\n")
  })
  expect_match(output, "^Token expires at: [0-9]{4}-[0-9-]{5} [0-9]{2}:[0-9]{2}:[0-9]{2} $")
  expect_lt(abs(expires_at - as.numeric(Sys.time()) - 3599), 60)
  expect_true(nzchar(access_token), label = "there is a token")
})

test_that("Azure Blob storage by plain HTTP", {
  container <- local_container()
  token <- entrar::getDelegatedAzureToken("https://storage.azure.com")
  expect_true(container %in% list_containers(azurite, token))
  expect_setequal(list_containers(demo_blob, token), c("field-notes", "forecasts", "measurements"))
})

test_that("Azure Blob storage with AzureStor", {
  need_azure_stor()
  container <- local_container()
  library(AzureStor)
  withr::defer(detach("package:AzureStor"))

  token <- entrar::getDelegatedAzureToken("https://storage.azure.com")
  endpoint <- storage_endpoint(
    azurite_host(),
    token = token$access_token
  )
  expect_true(container %in% names(list_storage_containers(endpoint)))
})

test_that("Azure Blob storage with AzureStor and an object", {
  need_azure_stor()
  container <- local_container()
  token <- getDelegatedAzureToken(storage_resource, as = "AzureToken")
  endpoint <- AzureStor::storage_endpoint(azurite_host(), token = token)
  expect_true(container %in% names(AzureStor::list_storage_containers(endpoint)))
})

test_that("Microsoft Graph", {
  library(httr2)

  token <- entrar::getDelegatedAzureToken("https://graph.microsoft.com")
  response <- request(paste0(demo_graph, "/v1.0/me")) |>
    req_auth_bearer_token(token$access_token) |>
    req_perform()
  me <- resp_body_json(response)
  expect_identical(me$displayName, "Ada Example")
})
