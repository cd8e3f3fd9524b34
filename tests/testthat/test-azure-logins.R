# Logins as AzureRMR and AzureGraph save and load them. With these packages themselves: tests/services/test-azurer.R.

skip_if_not_installed("R6")

local_login_directory <- function(frame = parent.frame()) {
  directory <- withr::local_tempdir(.local_envir = frame)
  withr::local_envvar(R_AZURE_DATA_DIR = directory, .local_envir = frame)
  directory
}

management <- "https://management.azure.com/"

# A server of tokens of Ada's that differ from each other.
local_ada <- function(..., frame = parent.frame()) {
  replies <- lapply(1:3, function(n) {
    list(token_reply(access_token = ada(jti = as.character(n), ...), id_token = canary))
  })
  local_session(do.call(wire_address, replies), frame = frame)
  azure_forget()
  withr::defer(azure_forget(), frame)
}

# The hash as the code of a package asks for it.
hash_for <- function(package, token) {
  caller <- list2env(list(.packageName = package, token = token), parent = baseenv())
  eval(quote(token$hash()), caller)
}

# Both packages save a login by its hash alone, and load it like this.
load_login <- function(hash) readRDS(file.path(Sys.getenv("R_AZURE_DATA_DIR"), hash))

test_that("a saved login holds no secret, and renews itself when it is used", {
  local_login_directory()
  local_ada()
  for (package in c("AzureRMR", "AzureGraph")) {
    token <- getDelegatedAzureToken(management, as = "AzureToken")
    login <- load_login(hash_for(package, token))
    held <- serialize(list(login, as.list(login$.__enclos_env__$private)), NULL, ascii = TRUE)
    expect_false(grepl(canary, rawToChar(held)))

    expect_s3_class(login, c("AzureToken", "R6"), exact = TRUE)
    fields <- c("version", "resource", "scope", "tenant", "auth_type", "client")
    expect_identical(mget(fields, login), mget(fields, token))
    expect_identical(login$hash(), token$hash())

    expect_false(login$validate())
    login$refresh()
    expect_true(login$validate())
    expect_true(grepl(canary, login$credentials$access_token))
    # What was handed out stays as it is.
    expect_true(token$validate())
  }
})

test_that("a login is found by another R process, which has its token and shows no secret", {
  local_login_directory()
  local_ada()
  token <- getDelegatedAzureToken(management, as = "AzureToken")
  hash <- hash_for("AzureRMR", token)
  code <- sprintf(
    "login <- readRDS(file.path(Sys.getenv('R_AZURE_DATA_DIR'), '%s')); login$print(); login$refresh(); login$print()",
    hash
  )
  output <- run_program(c(file.path(R.home("bin"), "Rscript"), "--vanilla", "-e", code))$output
  expect_true("  token:    none yet, it is asked for when it is used" %in% output)
  expect_true("  token:    <REDACTED>" %in% output)
  expect_false(any(grepl(canary, output)))
})

test_that("a login is one file that only its owner reads, named as AzureAuth names them", {
  skip_on_os("windows")
  directory <- local_login_directory()
  local_ada()
  umask <- Sys.umask("022")
  withr::defer(Sys.umask(umask))
  token <- getDelegatedAzureToken(management, as = "AzureToken")
  hash <- hash_for("AzureRMR", token)
  expect_match(hash, "^[0-9a-f]{32}$")
  hash_for("AzureRMR", token)
  expect_identical(dir(directory, all.files = TRUE, no.. = TRUE), hash)
  expect_identical(format(file.mode(file.path(directory, hash))), "600")
  expect_identical(Sys.umask(NA), as.octmode("022"))

  # A login for another resource, or of another tenant, is another one.
  copy <- token$clone()
  copy$resource <- "https://graph.microsoft.com/"
  elsewhere <- token$clone()
  elsewhere$tenant <- "tenant-2"
  hashes <- c(hash, hash_for("AzureGraph", copy), hash_for("AzureRMR", elsewhere))
  expect_length(unique(hashes), 3)
  expect_setequal(dir(directory), hashes)
})

test_that("nothing is saved unless a login is", {
  directory <- local_login_directory()
  local_ada()
  token <- getDelegatedAzureToken(management, as = "AzureToken")
  token$refresh()
  token$hash()
  # AzureAuth asks for the hash when it prints.
  hash_for("AzureAuth", token)
  capture.output(print(token))
  expect_length(dir(directory), 0)
  token$cache()
  expect_identical(dir(directory), token$hash())

  unlink(directory, recursive = TRUE)
  expect_match(hash_for("AzureRMR", token), "^[0-9a-f]{32}$")
  token$cache()
  expect_false(dir.exists(directory))
  withr::local_envvar(R_AZURE_DATA_DIR = NA)
  skip_if(isNamespaceLoaded("AzureAuth"), "AzureAuth has a directory of its own")
  expect_identical(login_directory(), "")
})

test_that("a login that cannot be saved is an error, and leaves nothing behind", {
  directory <- local_login_directory()
  local_ada()
  token <- getDelegatedAzureToken(management, as = "AzureToken")
  dir.create(file.path(directory, token$hash(), "in-the-way"), recursive = TRUE)
  expect_error(suppressWarnings(token$cache()), "The login could not be saved in")
  expect_identical(dir(directory), token$hash())
})

test_that("without a session a login is loaded, and says at its use that there is none", {
  local_login_directory()
  local_ada()
  hash <- hash_for("AzureRMR", getDelegatedAzureToken(management, as = "AzureToken"))
  azure_forget()
  local_session(NA, NA)
  login <- load_login(hash)
  expect_identical(login$tenant, "tenant-1")
  expect_match(capture.output(print(login)), "tenant: +tenant-1", all = FALSE)
  expect_false(login$validate())
  expect_error(login$refresh(), class = "entrar_error_no_session")
  expect_length(login$credentials, 0)
})

test_that("a login does not become another tenant's", {
  local_login_directory()
  local_ada()
  hash <- hash_for("AzureRMR", getDelegatedAzureToken(management, as = "AzureToken"))
  local_ada(tid = "tenant-2")
  login <- load_login(hash)
  error <- expect_error(login$refresh(), class = "entrar_error_sign_in_required")
  expect_match(
    conditionMessage(error),
    "this login is of tenant tenant-1, but you are signed in to tenant tenant-2",
    fixed = TRUE
  )
  expect_false(login$validate())

  # Neither does a token that does not tell its tenant keep anybody out.
  local_session(wire_address(list(token_reply())))
  azure_forget()
  expect_true(load_login(hash)$refresh()$validate())
})
