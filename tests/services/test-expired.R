# Tokens whose time is over. Run in a session whose tokens live for six seconds: long enough to spend one at once.

test_that("an expired token is refused, and the next one is good", {
  container <- local_container()
  storage <- getDelegatedAzureToken(storage_resource)
  graph <- getDelegatedAzureToken(graph_resource)
  Sys.sleep(7)
  expect_refused(list_request(azurite, storage), storage, 403, "The token is expired")
  expect_refused(list_request(demo_blob, storage), storage, 401, "The token is expired")
  expect_refused(graph_request(graph), graph, 401, "the token is expired")
  expect_match(format(storage), "has expired", all = FALSE)

  expect_true(container %in% list_containers(azurite, getDelegatedAzureToken(storage_resource)))
})

test_that("AzureStor renews an expired token that is an object", {
  need_azure_stor()
  container <- local_container()
  token <- getDelegatedAzureToken(storage_resource, as = "AzureToken")
  endpoint <- AzureStor::storage_endpoint(azurite_host(), token = token)
  first <- token$credentials$access_token
  Sys.sleep(7)
  expect_message(
    containers <- AzureStor::list_storage_containers(endpoint),
    "Access token has expired"
  )
  expect_true(container %in% names(containers))
  expect_false(token$credentials$access_token == first, label = "it is the old token")
})
