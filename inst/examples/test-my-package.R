# A test file of a package that builds on entrar: copy what you need.

# What such a package may have in R/: the services' addresses are options, so that a test can set them.

me <- function() {
  graph <- getOption("mypackage.graph", "https://graph.microsoft.com")
  httr2::request(graph) |>
    httr2::req_url_path_append("v1.0", "me") |>
    entrar::req_auth_azure("graph") |>
    httr2::req_perform() |>
    httr2::resp_body_json()
}

secret <- function(name) {
  vault <- getOption("mypackage.vault", "https://example.vault.azure.net")
  httr2::request(vault) |>
    httr2::req_url_path_append("secrets", name) |>
    httr2::req_url_query(`api-version` = "7.4") |>
    entrar::req_auth_azure("key_vault") |>
    httr2::req_perform() |>
    httr2::resp_body_json() |>
    getElement("value")
}

greeting <- function() {
  tryCatch(
    paste("Hello", me()$givenName),
    entrar_error_sign_in_required = function(e) "Please sign in again.",
    entrar_error = function(e) if (e$retryable) "Please come back later." else stop(e)
  )
}

# And its tests. This one sets the package's options beside the session.

local_azure <- function(..., frame = parent.frame()) {
  azure <- entrar::local_emulated_azure(..., env = frame)
  withr::local_options(
    mypackage.graph = azure$graph,
    mypackage.vault = azure$vault,
    .local_envir = frame
  )
  azure
}

test_that("the signed-in person is greeted", {
  azure <- local_azure()
  expect_identical(me()$displayName, azure$person)
  expect_identical(greeting(), "Hello Ada")
})

test_that("a secret is read, and one that is not there is an error", {
  local_azure()
  expect_identical(secret("database-password"), "not a real password")
  expect_error(secret("no-such-secret"), class = "httr2_http_404")
})

test_that("who has to sign in again is told so", {
  local_azure(faults = "sign_in_required")
  expect_identical(greeting(), "Please sign in again.")
})

test_that("what passes is told to pass", {
  local_azure(faults = c(graph = "unavailable"))
  expect_identical(greeting(), "Please come back later.")
  expect_identical(secret("report-settings"), "{\"rows\": 100}")
})

test_that("a missing consent is an error", {
  local_azure(faults = "consent_required")
  expect_error(greeting(), class = "entrar_error_consent_required")
})

test_that("a long job outlives its token", {
  local_azure(token_lifetime = 2)
  for (round in 1:3) {
    expect_identical(greeting(), "Hello Ada")
    Sys.sleep(1)
  }
})
