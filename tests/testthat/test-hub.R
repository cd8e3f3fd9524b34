# Signing in at a hub: a stand-in for it, which a Python script plays.

skip_on_os("windows")

test_that("a person signs in on the hub's page, and this and every other R process has tokens", {
  socket <- local_hub()
  expect_true(has_azure_session())
  expect_null(azure_account())
  failure <- expect_error(
    getDelegatedAzureToken("graph"),
    class = "entrar_error_sign_in_required"
  )
  expect_match(conditionMessage(failure), "sign in at https://hub.example", fixed = TRUE)
  expect_match(conditionMessage(failure), "azure_sign_in()", fixed = TRUE)
  sign_in_on_page(socket)
  expect_snapshot(
    account <- azure_sign_in(),
    transform = without_hub(socket)
  )
  expect_s3_class(account, "entrar_account")
  expect_identical(account$username, "ada@example.com")
  expect_identical(azure_account(), account)
  expect_match(getDelegatedAzureToken("graph")$access_token, canary)
  other <- run_script("cat(nchar(getDelegatedAzureToken('storage')$access_token) > 10)")
  expect_identical(other, "TRUE")
})

test_that("the page opens where a browser does", {
  socket <- local_hub()
  opened <- character()
  withr::local_options(browser = function(url) {
    opened <<- c(opened, url)
    sign_in_on_page(socket)
  })
  expect_message(azure_sign_in(), "opens in your browser")
  expect_identical(opened, "https://hub.example/sign-in")
})

test_that("who is signed in already is told so, and signs in anew only if they say so", {
  socket <- local_hub()
  sign_in_on_page(socket)
  suppressMessages(azure_sign_in())
  first <- azure_token("graph")
  expect_snapshot(account <- azure_sign_in())
  expect_identical(account$username, "ada@example.com")
  expect_identical(sum(asked_of_hub(socket) == "/hub/begin"), 1L)
  expect_identical(azure_token("graph"), first)
  sign_in_on_page(socket, "bob@example.com")
  suppressMessages(account <- azure_sign_in(replace = TRUE))
  expect_identical(account$username, "bob@example.com")
  expect_silent(second <- azure_token("graph"))
  expect_false(identical(second, first))
})

test_that("who is signed in elsewhere as somebody else is told, and has no token of the first any more", {
  socket <- local_hub()
  sign_in_on_page(socket)
  suppressMessages(azure_sign_in())
  first <- azure_token("graph")
  sign_in_on_page(socket, "bob@example.com")
  run_script("azure_sign_in(replace = TRUE)")
  # Nothing tells this process before it asks.
  expect_identical(azure_token("graph"), first)
  expect_warning(azure_token("storage"), "Somebody else is signed in")
  expect_false(identical(azure_token("graph"), first))
})

test_that("a hub that pairs has a code typed, and another one after a wrong one", {
  socket <- local_hub("paired")
  sign_in_on_page(socket)
  answers <- c("WRONG", " ABCD2345 ")
  withr::local_options(
    entrar.ask = TRUE,
    entrar.answer = function(prompt) {
      answer <- answers[[1]]
      answers <<- answers[-1]
      answer
    }
  )
  expect_snapshot(account <- azure_sign_in(), transform = without_hub(socket))
  expect_identical(account$username, "ada@example.com")
  expect_identical(answers, character())
})

test_that("after the last try, or without a code, nobody is signed in and the hub waits no longer", {
  socket <- local_hub("paired")
  sign_in_on_page(socket)
  withr::local_options(entrar.ask = TRUE, entrar.answer = function(prompt) "WRONG")
  expect_error(
    suppressMessages(azure_sign_in()),
    "that was the last try",
    class = "entrar_error_access_denied"
  )
  withr::local_options(entrar.answer = function(prompt) " ")
  expect_error(
    suppressMessages(azure_sign_in()),
    "no code was typed",
    class = "entrar_error_sign_in_required"
  )
  expect_null(azure_account())
  asked <- asked_of_hub(socket)
  expect_identical(sum(asked == "/hub/pair"), 3L)
  expect_identical(sum(asked == "/hub/cancel"), 2L)
})

test_that("in a script nobody can type a code, so nothing is begun", {
  socket <- local_hub("paired")
  withr::local_options(entrar.ask = FALSE)
  expect_snapshot(error = TRUE, azure_sign_in())
  expect_false("/hub/begin" %in% asked_of_hub(socket))
})

test_that("whom the hub refuses is told why", {
  socket <- local_hub()
  sign_in_on_page(socket, "nobody@example.com")
  expect_error(
    suppressMessages(azure_sign_in()),
    "^Cannot sign in to Azure: this account is not ada's",
    class = "entrar_error_access_denied"
  )
  expect_null(azure_account())
})

test_that("Ctrl-C ends a sign-in that waits, for the hub too", {
  socket <- local_hub()
  said <- run_script(
    "options(browser = function(url) interrupt_after(0.2))",
    "outcome <- tryCatch(azure_sign_in(), interrupt = function(condition) 'interrupted')",
    "cat('outcome:', outcome, is.null(azure_account()))"
  )
  expect_match(said, "outcome: interrupted TRUE", fixed = TRUE, all = FALSE)
  expect_identical(sum(asked_of_hub(socket) == "/hub/cancel"), 1L)
})

test_that("signing out ends it everywhere, and says what it does not end", {
  socket <- local_hub()
  sign_in_on_page(socket)
  suppressMessages(azure_sign_in())
  first <- azure_token("graph")
  withr::local_envvar(PWB_SESSION_RUNTIME_DIR = NA, RSTUDIO_VERSION = NA)
  suppressWarnings(azure_session_env())
  expect_snapshot(account <- azure_sign_out())
  expect_identical(account$username, "ada@example.com")
  expect_identical(
    Sys.getenv(c("RS_SERVER_ADDRESS", "PWB_SESSION_RUNTIME_DIR", "ENTRAR_ORIGIN"), names = FALSE),
    c("", "", "")
  )
  expect_false(dir.exists(file.path(dirname(socket), "entrar", "hub-session")))
  expect_error(azure_token("graph"), class = "entrar_error_sign_in_required")
  expect_message(expect_null(azure_sign_out()), "Nobody was signed in")
})

test_that("where several servers share a database, a sign-out says when it holds on all of them", {
  withr::local_timezone("UTC")
  expect_null(holds_everywhere(NULL))
  expect_identical(
    holds_everywhere(1795392061),
    "\nEvery server of the hub holds to it by 00:01:01."
  )
})

test_that("other people's clients find the hub by variables", {
  socket <- local_hub(RSTUDIO_VERSION = "2023.06.1")
  withr::local_envvar(RS_SERVER_ADDRESS = NA, PWB_SESSION_RUNTIME_DIR = NA, ENTRAR_ORIGIN = NA)
  variables <- suppressWarnings(azure_session_env())
  directory <- file.path(dirname(socket), "entrar", "hub-session")
  expect_identical(
    variables[order(names(variables))],
    c(
      ENTRAR_ORIGIN = "hub",
      PWB_SESSION_RUNTIME_DIR = directory,
      RS_SERVER_ADDRESS = "http://127.0.0.1:9"
    )
  )
  expect_identical(Sys.getenv("RSTUDIO_VERSION"), "")
  file <- file.path(directory, "rpc_cookie")
  expect_match(readLines(file, warn = FALSE), canary)
  expect_identical(format(file.mode(file)), "600")
  expect_identical(Sys.getenv("RS_SESSION_RPC_COOKIE"), "")
  suppressWarnings(azure_session_env(inline = TRUE))
  expect_match(Sys.getenv("RS_SESSION_RPC_COOKIE"), canary)
  withr::local_envvar(RS_SESSION_RPC_COOKIE = NA)
  # The hub itself is still asked by its socket.
  expect_null(azure_account())
  expect_identical(azure_sitrep()$hub$user, "ada")
})

test_that("with an app or another way to sign in it is an agent that is asked", {
  socket <- local_hub()
  expect_error(azure_sign_in(client_id = "no GUID"), class = "entrar_error_misconfigured")
  expect_error(
    azure_sign_in(method = "device_code"),
    "no app is named",
    class = "entrar_error_misconfigured"
  )
  expect_false(file.exists(paste0(socket, ".log")))
})

test_that("an agent that was killed is out of the way once one has signed in at the hub", {
  socket <- local_hub()
  directory <- file.path(dirname(socket), "entrar")
  dir.create(directory, mode = "0700")
  kill_agent(start_agent(directory))
  expect_error(getDelegatedAzureToken("graph"), class = "entrar_error_no_session")
  sign_in_on_page(socket)
  suppressMessages(azure_sign_in())
  expect_match(getDelegatedAzureToken("graph")$access_token, "^e30[.]")
})

test_that("a hub that is refused or does not run is said to be, with what to do", {
  socket <- local_hub()
  Sys.chmod(dirname(socket), "0777", use_umask = FALSE)
  expect_snapshot(
    error = TRUE,
    getDelegatedAzureToken("graph"),
    transform = function(lines) gsub(dirname(normalizePath(socket)), "DIRECTORY", lines)
  )
  expect_error(azure_sign_in(), class = "entrar_error_no_session")
  expect_false(has_azure_session())
  expect_null(azure_account())
  Sys.chmod(dirname(socket), "0700")
  withr::local_envvar(ENTRAR_HUB_SOCKET = "/nowhere/hub.sock")
  expect_false(has_azure_session())
  expect_snapshot(error = TRUE, getDelegatedAzureToken("graph"))
  expect_snapshot(error = TRUE, azure_sign_in())
})

test_that("a report tells as whom the hub knows this process", {
  socket <- local_hub()
  hub <- azure_sitrep()$hub
  expect_identical(hub$account, NA_character_)
  lines <- function() {
    lines <- format(azure_sitrep("graph"))
    lines[grepl("Where|Server|Account|Cookie|Token|azure_sign_in|tenant", lines)]
  }
  said <- function() without_hub(socket)(gsub("in [0-9]+ ms", "in N ms", lines()))
  withr::local_options(width = 200)
  withr::local_timezone("UTC")
  expect_snapshot(writeLines(said()))
  sign_in_on_page(socket)
  suppressMessages(azure_sign_in())
  said <- grep("Account|tenant", lines(), value = TRUE)
  expect_match(said[[1]], "ada@example.com for the user ada of node1, since 2026-11-23")
  expect_match(said[[2]], "tenant: 11111111-2222-3333-4444-555555555555")
  expect_identical(azure_sitrep()$hub$since, 1795392000)
})
