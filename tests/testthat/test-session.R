test_that("a session is an address and a cookie", {
  local_session("http://127.0.0.1:1")
  expect_true(has_azure_session())
  local_session("http://127.0.0.1:1", cookie = NA)
  expect_false(has_azure_session())
  local_session(NA)
  expect_false(has_azure_session())
})

# The IDE keeps its functions in an environment on the search path.
local_ide <- function(f, frame = parent.frame()) {
  ide <- new.env()
  assign(".rs.api.getDelegatedAzureToken", f, ide)
  suppressMessages(attach(ide, name = "tools:rstudio"))
  withr::defer(detach("tools:rstudio", character.only = TRUE), frame)
}

test_that("without an address the IDE's own function is asked", {
  local_session(NA)
  expires_at <- as.numeric(Sys.time()) + 3599.4
  local_ide(function(resource) {
    list(access_token = paste0(canary, resource), token_type = "Bearer", expires_at = expires_at)
  })
  expect_true(has_azure_session())
  token <- getDelegatedAzureToken("r")
  expect_s3_class(token, "entrar_token")
  expect_true(identical(token$access_token, paste0(canary, "r")))
  expect_identical(token$expires_at, floor(expires_at))
  expect_identical(token$scope, NA_character_)
})

test_that("with an address the IDE is not asked", {
  local_session(wire_address(list(token_reply())))
  local_ide(function(resource) stop("not me"))
  expect_s3_class(getDelegatedAzureToken("r"), "entrar_token")
})

test_that("the IDE's failures are classified by their text", {
  local_session(NA)
  local_ide(function(resource) stop("OAuth error: AADSTS700082: The refresh token has expired."))
  error <- expect_error(getDelegatedAzureToken("r"), class = "entrar_error_sign_in_required")
  expect_identical(error$aadsts, 700082L)
})

test_that("the IDE is asked for nothing that is no resource, and its NA is no token", {
  local_session(NA)
  local_ide(function(resource) list(access_token = NA_character_, scope = NA_character_))
  for (bad in c("", " ", "a b", "https://x/.default")) {
    expect_error(getDelegatedAzureToken(bad), class = "entrar_error_bad_resource")
  }
  expect_error(getDelegatedAzureToken("r"), class = "entrar_error_bad_reply")
})

test_that("nonsense from the IDE is a bad reply", {
  local_session(NA)
  local_ide(function(resource) list(token_type = "Bearer"))
  expect_error(getDelegatedAzureToken("r"), class = "entrar_error_bad_reply")
})

test_that("whatever the IDE's function raises or returns is an error of ours", {
  local_session(NA)
  broken <- "caf\xe9"
  Encoding(broken) <- "UTF-8"
  condition <- function(message) {
    structure(list(message = message, call = NULL), class = c("error", "condition"))
  }
  for (message in list(broken, c("a", "b"), NULL, 1, NA_character_)) {
    local({
      local_ide(function(resource) stop(condition(message)))
      expect_error(getDelegatedAzureToken("r"), class = "entrar_error")
    })
  }
  for (value in list(
    broken,
    NULL,
    TRUE,
    quote(x),
    list(access_token = broken, expires_at = 1e10)
  )) {
    local({
      local_ide(function(resource) value)
      expect_error(getDelegatedAzureToken("r"), class = "entrar_error")
    })
  }
})

test_that("a time limit of R's own that ends the IDE's function is the error that it is", {
  local_session(NA)
  local_ide(function(resource) {
    repeat {
      Sys.sleep(0.01)
    }
  })
  error <- tryCatch(
    {
      setTimeLimit(elapsed = 0.2, transient = TRUE)
      getDelegatedAzureToken("r")
    },
    error = identity
  )
  setTimeLimit()
  expect_s3_class(error, c("simpleError", "error", "condition"), exact = TRUE)
  expect_identical(conditionMessage(error), gettext("reached elapsed time limit", domain = "R"))
})

test_that("each of R's time limits is known, and nothing else is one", {
  raised <- function(message) {
    local_ide(function(resource) stop(message))
    tryCatch(getDelegatedAzureToken("r"), error = function(e) class(e)[[1]])
  }
  local_session(NA)
  for (limit in c("elapsed", "CPU", "session elapsed", "session CPU")) {
    expect_identical(raised(sprintf("reached %s time limit", limit)), "simpleError")
  }
  expect_identical(raised("the time limit for requests"), "entrar_error_server_error")
})
