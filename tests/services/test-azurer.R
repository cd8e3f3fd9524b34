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

# The demo's tokens are of one tenant, and all logins are in a directory of the test's own.
local_login_directory <- function(frame = parent.frame()) {
  directory <- withr::local_tempdir(.local_envir = frame)
  withr::local_envvar(R_AZURE_DATA_DIR = directory, .local_envir = frame)
  directory
}

# What another R process, with a session or without one, has of the logins that are saved.
in_another_process <- function(..., session = TRUE) {
  script <- withr::local_tempfile(lines = c(...))
  if (!session) {
    withr::local_envvar(RS_SERVER_ADDRESS = NA)
  }
  rscript <- file.path(R.home("bin"), "Rscript")
  system2(rscript, c("--vanilla", script), stdout = TRUE, stderr = TRUE)
}

# What there is of a token: TRUE and FALSE, since its secret must not be printed.
state <- "cat(login$token$validate(), is.character(login$token$credentials$access_token), '\\n')"

test_that("AzureRMR and AzureGraph list a login that was made from a token, and get it", {
  skip_if_not_installed("AzureRMR")
  directory <- local_login_directory()
  token <- management()
  suppressMessages(AzureRMR::create_azure_login(token = token))
  hashes <- dir(directory, "^[0-9a-f]{32}$")
  expect_length(hashes, 2)
  expect_setequal(names(AzureAuth::list_azure_tokens()), hashes)
  expect_false(AzureAuth::load_azure_token(token$hash())$validate())

  listed <- c(
    "logins <- c(AzureRMR::list_azure_logins(), AzureGraph::list_graph_logins())",
    "cat(names(logins), lengths(logins), '\\n')",
    "for (login in unlist(logins)) {",
    state,
    "}"
  )
  expected <- c(paste(token$tenant, token$tenant, "1 1 "), "FALSE FALSE ", "FALSE FALSE ")
  expect_identical(in_another_process(listed), expected)
  expect_identical(in_another_process(listed, session = FALSE), expected)

  got <- c(
    sprintf("suppressMessages(login <- AzureRMR::get_azure_login('%s'))", token$tenant),
    state,
    sprintf("suppressMessages(login <- AzureGraph::get_graph_login('%s'))", token$tenant),
    state
  )
  expect_identical(in_another_process(got), c("TRUE TRUE ", "TRUE TRUE "))
  output <- suppressWarnings(in_another_process(got, session = FALSE))
  expect_match(output, "No Azure token for \"https://management.azure.com/\"", all = FALSE)
})

test_that("logins that were made from tokens are deleted as others are", {
  skip_if_not_installed("AzureRMR")
  directory <- local_login_directory()
  token <- graph()
  client <- AzureGraph::create_graph_login(token = token)
  suppressMessages(AzureGraph::delete_graph_login(token$tenant, confirm = FALSE))
  expect_length(AzureGraph::list_graph_logins(), 0)
  AzureAuth::clean_token_directory(confirm = FALSE)
  expect_output(print(client), "graph.microsoft.com")
  expect_length(dir(directory), 0)
})

test_that("nothing is saved where AzureAuth has no directory", {
  skip_if_not_installed("AzureRMR")
  directory <- file.path(local_login_directory(), "absent")
  withr::local_envvar(R_AZURE_DATA_DIR = directory)
  expect_message(AzureGraph::create_graph_login(token = graph()), "credentials not saved")
  expect_false(dir.exists(directory))

  # The one that it has unless a variable names another.
  withr::local_envvar(R_AZURE_DATA_DIR = NA, XDG_DATA_HOME = directory)
  AzureAuth::create_AzureR_dir()
  AzureGraph::create_graph_login(token = graph())
  expect_identical(
    dir(AzureAuth::AzureR_dir()),
    sort(c(graph()$hash(), "graph_logins.json"), method = "radix")
  )
})
