test_that("each cloud has its resources by name", {
  for (cloud in c("public", "usgov", "china")) {
    known <- azure_resources(cloud)
    expect_type(known, "character")
    expect_true(all(
      c("storage", "key_vault", "sql", "management", "graph", "openai") %in% names(known)
    ))
    expect_identical(anyDuplicated(names(known)), 0L)
  }
  expect_identical(azure_resources()[["storage"]], "https://storage.azure.com")
  expect_identical(azure_resources()[["devops"]], "499b84ac-1321-427f-aa17-267ca6975798")
  expect_error(azure_resources("moon"), "'arg' should be one of")
})

test_that("every function takes a name", {
  address <- wire_address(list(token_reply()))
  local_session(address)
  azure_forget()
  expect_identical(attr(getDelegatedAzureToken("sql"), "resource"), "https://database.windows.net/")
  azure_token("sql")
  azure_forget()
  bodies <- vapply(requests_at(address), function(request) request$body, "")
  expect_match(bodies, "\"params\":[\"https://database.windows.net/\"]", fixed = TRUE)
})
