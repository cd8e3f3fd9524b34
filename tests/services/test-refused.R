# Tokens for another resource.

test_that("a token for Graph is refused by Azure Storage", {
  token <- getDelegatedAzureToken(graph_resource)
  expect_refused(list_request(azurite, token), token, 403, "Invalid token audience")
  expect_refused(list_request(demo_blob, token), token, 401, "Audience did not match")
})

test_that("a token for Azure Storage is refused by Graph", {
  token <- getDelegatedAzureToken(storage_resource)
  expect_refused(graph_request(token), token, 401, "Invalid audience")
})
