# The AzureR packages take the token as an object. They are on CRAN only, so this runs where they are
# installed: printing what is made from a token looks into all of its fields.

management <- function() getDelegatedAzureToken("https://management.azure.com/", as = "AzureToken")
graph <- function() getDelegatedAzureToken("https://graph.microsoft.com/", as = "AzureToken")
vault <- function() getDelegatedAzureToken("https://vault.azure.net", as = "AzureToken")

test_that("AzureAuth knows and prints the token", {
  skip_if_not_installed("AzureAuth")
  token <- management()
  expect_true(AzureAuth::is_azure_token(token))
  expect_output(cat(AzureAuth::format_auth_header(token)), paste("Tenant:", token$tenant))
})

test_that("AzureRMR prints a client made from it", {
  skip_if_not_installed("AzureRMR")
  expect_output(print(AzureRMR::az_rm$new(token = management())), "management.azure.com")
})

test_that("AzureGraph prints a client made from it", {
  skip_if_not_installed("AzureGraph")
  expect_output(print(AzureGraph::ms_graph$new(token = graph())), "graph.microsoft.com")
})

test_that("AzureKeyVault prints a vault made from it", {
  skip_if_not_installed("AzureKeyVault")
  expect_output(
    print(AzureKeyVault::key_vault("https://v.vault.azure.net", token = vault())),
    "v.vault.azure.net"
  )
})
