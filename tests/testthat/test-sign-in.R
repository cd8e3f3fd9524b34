# Signing in at an emulated tenant, with a real agent.

test_that("a person signs in once, and this and every other R process has tokens", {
  local_sign_in()
  expect_false(has_azure_session())
  expect_null(azure_account())
  account <- sign_in()
  expect_match(tenants$page, "/done You have signed in$")
  expect_s3_class(account, "entrar_account")
  expect_identical(account$username, "ada@example.com")
  expect_identical(account$tenant, emulated_tenant()$tenant)
  expect_identical(azure_account(), account)
  expect_true(has_azure_session())
  token <- getDelegatedAzureToken("graph")
  expect_gt(token$expires_at, as.numeric(Sys.time()))
  other <- run_script("cat(nchar(getDelegatedAzureToken('storage')$access_token) > 100)")
  expect_identical(other, "TRUE")
  skip_on_os("windows")
  child <- parallel::mcparallel(getDelegatedAzureToken("storage")$token_type)
  expect_identical(unname(parallel::mccollect(child)), list("Bearer"))
})

test_that("the sign-in page begins with the user name that is given", {
  local_sign_in()
  # Whom the page preselects.
  account <- sign_in(login_hint = "bob@example.com", user = "")
  expect_identical(account$username, "bob@example.com")
})

test_that("who waits is told what to do about an error that R is not told of", {
  local_sign_in()
  tenant <- emulated_tenant()
  withr::local_options(browser = function(url) browse(url))
  said <- capture_messages(
    azure_sign_in(tenant$tenant, tenant$client_id, "browser", authority = tenant$authority)
  )
  expect_match(said[[1]], "the browser shows an error of Entra ID.*press Ctrl-C")
})

test_that("two accounts are told apart by as much as it takes", {
  question <- function(...) {
    account <- list(
      username = "ada@example.com",
      name = "Ada",
      tenant = "tenant-1",
      object_id = "object-1",
      since = 0
    )
    progress <- list(replaces = account, account = utils::modifyList(account, list(...)))
    asked <- NULL
    withr::local_options(
      entrar.ask = TRUE,
      entrar.answer = function(prompt) {
        asked <<- prompt
        "no"
      }
    )
    expect_false(may_replace(progress, NA))
    kept <- conditionMessage(kept_account(progress, NULL))
    c(sub(" in their place.*", "", asked), sub("\n.*", "", kept))
  }
  expect_snapshot({
    writeLines(question(username = "bob@example.com"))
    writeLines(question(tenant = "tenant-2"))
    writeLines(question(tenant = "tenant-2", username = "ADA@example.com"))
    writeLines(question(object_id = "object-2"))
  })
})

test_that("an account shows who it is, and no secret", {
  account <- structure(
    class = "entrar_account",
    list(
      username = "ada@example.com",
      name = NA_character_,
      tenant = "11111111-2222-3333-4444-555555555555",
      object_id = "66666666-2222-3333-4444-555555555555",
      client_id = "77777777-2222-3333-4444-555555555555",
      authority = "https://login.microsoftonline.com",
      method = "browser",
      since = as.POSIXct(1795392000, origin = "1970-01-01", tz = "UTC")
    )
  )
  expect_snapshot(print(account))
})

test_that("signing out ends the agent, for every process", {
  directory <- local_sign_in()
  sign_in()
  expect_message(account <- azure_sign_out(), "ada@example.com is signed out")
  expect_identical(account$username, "ada@example.com")
  expect_false(has_azure_session())
  expect_null(azure_account())
  expect_error(getDelegatedAzureToken("graph"), class = "entrar_error_no_session")
  expect_false(file.exists(file.path(directory, "agent.sock")))
  expect_message(expect_null(azure_sign_out()), "Nobody is signed in")
})

test_that("who says no is not signed in", {
  local_sign_in()
  failure <- expect_error(sign_in(answer = "deny"), class = "entrar_error_consent_required")
  expect_match(tenants$page, "/done You are not signed in$")
  expect_match(conditionMessage(failure), "^Cannot sign in to Azure: .*If that was a mistake")
  expect_null(azure_account())
})

test_that("an address is pasted where no browser reaches this machine", {
  local_sign_in()
  shown <- NULL
  answers <- c("http://localhost/?code=CANARY&state=another", NA)
  withr::local_options(
    entrar.ask = TRUE,
    entrar.answer = function(prompt) {
      answer <- answers[[1]]
      answers <<- answers[-1]
      if (is.na(answer)) browse(shown) else answer
    }
  )
  said <- character()
  tenant <- emulated_tenant()
  account <- withCallingHandlers(
    azure_sign_in(
      tenant$tenant,
      tenant$client_id,
      method = "paste",
      authority = tenant$authority
    ),
    message = function(message) {
      said <<- c(said, conditionMessage(message))
      address <- regmatches(said, regexpr("http://127[^\n]*", said))
      if (length(address)) {
        shown <<- address[[1]]
      }
      invokeRestart("muffleMessage")
    }
  )
  expect_identical(account$method, "paste")
  expect_match(said[[1]], "as good as your")
  expect_match(said[[2]], "That is not the address")
  expect_no_match(said, canary)
})

test_that("nothing is pasted into a script", {
  local_sign_in()
  withr::local_options(entrar.ask = FALSE)
  expect_snapshot(error = TRUE, sign_in(method = "paste"))
})

test_that("a device code is typed elsewhere", {
  local_sign_in()
  tenant <- emulated_tenant()
  account <- withCallingHandlers(
    azure_sign_in(
      tenant$tenant,
      tenant$client_id,
      method = "device_code",
      authority = tenant$authority
    ),
    message = function(message) {
      said <- conditionMessage(message)
      code <- regmatches(said, regexec("Open (\\S+) in any browser.*\n\n +(\\S+)\n", said))[[1]]
      if (length(code)) {
        browse(code[[2]], code[[3]], answer = "code")
      }
      invokeRestart("muffleMessage")
    }
  )
  expect_identical(account$method, "device_code")
})

test_that("another account is asked about before it takes the place of the first", {
  local_sign_in()
  sign_in()
  first <- azure_token("graph")
  expect_error(sign_in(user = "bob@example.com"), class = "entrar_error_access_denied")
  expect_identical(azure_account()$username, "ada@example.com")
  expect_identical(azure_token("graph"), first)
  asked <- character()
  withr::local_options(
    entrar.ask = TRUE,
    entrar.answer = function(prompt) {
      asked <<- c(asked, prompt)
      "yes"
    }
  )
  expect_identical(sign_in(user = "bob@example.com")$username, "bob@example.com")
  expect_match(asked, "^ada@example.com is signed in. Sign in as bob@example.com")
  expect_false(identical(azure_token("graph"), first))
  expect_identical(sign_in(replace = TRUE)$username, "ada@example.com")
})

test_that("who is signed in elsewhere as somebody else is told once, and has no token of the first", {
  directory <- local_sign_in()
  sign_in()
  first <- azure_token("graph")
  tenant <- emulated_tenant()
  said <- run_script(
    sprintf("Sys.setenv(ENTRAR_RUNTIME_DIR = '%s')", directory),
    sprintf(
      "options(browser = function(url) system2('python3', c('%s', 'sign_in', 'bob@example.com', shQuote(url))))",
      normalizePath(test_path("browser.py"))
    ),
    sprintf("azure_sign_in('%s', '%s', 'browser',", tenant$tenant, tenant$client_id),
    sprintf("  authority = '%s', replace = TRUE)", tenant$authority),
    "cat(azure_account()$username)"
  )
  expect_match(said, "bob@example.com", fixed = TRUE, all = FALSE)
  expect_warning(second <- azure_token("graph"), "Somebody else is signed in")
  expect_false(identical(second, first))
  expect_silent(getDelegatedAzureToken("storage"))
})

test_that("without an app it is said how to get one", {
  local_sign_in()
  expect_snapshot(error = TRUE, azure_sign_in(tenant = "contoso.example"))
  expect_snapshot(error = TRUE, azure_sign_in(client_id = "the app"))
})

test_that("an app and a tenant may come from options and variables", {
  tenant <- emulated_tenant()
  local_sign_in()
  withr::local_options(
    entrar.tenant = tenant$tenant,
    entrar.client_id = tenant$client_id,
    browser = function(url) browse(url)
  )
  by_option <- suppressMessages(azure_sign_in(method = "browser", authority = tenant$authority))
  expect_identical(by_option$tenant, tenant$tenant)
  withr::local_envvar(AZURE_CLIENT_ID = "no GUID")
  expect_error(
    azure_sign_in(method = "browser", authority = tenant$authority),
    class = "entrar_error_misconfigured"
  )
})

test_that("where somebody else signs people in, that is said", {
  local_sign_in(POSIT_PRODUCT = "CONNECT")
  expect_error(sign_in(), class = "entrar_error_no_session")
  local_session("http://127.0.0.1:1", NA)
  expect_error(sign_in(), "Posit Workbench signs people in", class = "entrar_error_access_denied")
})

test_that("arguments that make no sense are refused before anything starts", {
  directory <- local_sign_in()
  expect_error(azure_sign_in(tenant = 1), "`tenant` must be one non-empty string")
  expect_error(azure_sign_in(client_id = c("a", "b")), "`client_id` must be one")
  expect_error(azure_sign_in("t", "c", "browser", "hint"), "by name")
  expect_error(azure_sign_in(replace = "yes"), "`replace` must be")
  expect_error(azure_sign_in(method = "magic"), "should be one of")
  expect_false(dir.exists(directory))
})

test_that("Ctrl-C ends a sign-in that waits", {
  skip_on_os("windows")
  directory <- local_sign_in()
  tenant <- emulated_tenant()
  said <- run_script(
    sprintf("Sys.setenv(ENTRAR_RUNTIME_DIR = '%s')", directory),
    "options(browser = function(url) interrupt_after(0.2))",
    "outcome <- tryCatch(",
    sprintf("  azure_sign_in('%s', '%s', 'browser',", tenant$tenant, tenant$client_id),
    sprintf("    authority = '%s'),", tenant$authority),
    "  interrupt = function(condition) 'interrupted')",
    "cat('outcome:', outcome, is.null(azure_account()))"
  )
  expect_match(said, "outcome: interrupted TRUE", fixed = TRUE, all = FALSE)
})

test_that("other people's clients find the agent by variables", {
  directory <- local_sign_in()
  sign_in()
  withr::local_envvar(
    RS_SERVER_ADDRESS = NA,
    PWB_SESSION_RUNTIME_DIR = NA,
    ENTRAR_ORIGIN = NA,
    RS_SESSION_RPC_COOKIE = NA,
    RSTUDIO_VERSION = "2023.06.1"
  )
  variables <- azure_session_env()
  expect_named(
    variables,
    c("ENTRAR_ORIGIN", "PWB_SESSION_RUNTIME_DIR", "RS_SERVER_ADDRESS"),
    ignore.order = TRUE
  )
  expect_identical(Sys.getenv("RS_SESSION_RPC_COOKIE"), "")
  expect_identical(Sys.getenv("RSTUDIO_VERSION"), "")
  expect_identical(Sys.getenv("PWB_SESSION_RUNTIME_DIR"), file.path(directory, "session"))
  expect_identical(getDelegatedAzureToken("graph")$token_type, "Bearer")
  inline <- azure_session_env(inline = TRUE)
  expect_false("RS_SESSION_RPC_COOKIE" %in% names(inline))
  expect_match(Sys.getenv("RS_SESSION_RPC_COOKIE"), "^[^|]+[|][^|]+[|][^|]+$")
  # A new agent has another port: what is set follows it.
  withr::local_envvar(ENTRAR_ORIGIN = NA)
  suppressMessages(azure_sign_out())
  Sys.setenv(ENTRAR_ORIGIN = "agent")
  sign_in()
  expect_identical(getDelegatedAzureToken("graph")$token_type, "Bearer")
  # Signed out, nothing leads to a port that somebody else may take.
  suppressMessages(azure_sign_out())
  expect_identical(
    Sys.getenv(c("RS_SERVER_ADDRESS", "RS_SESSION_RPC_COOKIE"), names = FALSE),
    c("", "")
  )
})

test_that("with Azure CLI's app nothing is pasted, and who pastes nothing is not signed in", {
  directory <- local_sign_in()
  withr::local_options(entrar.ask = TRUE, entrar.answer = function(prompt) " ")
  expect_error(
    azure_sign_in(client_id = "azure-cli", method = "paste"),
    "nothing is pasted",
    class = "entrar_error_misconfigured"
  )
  expect_false(dir.exists(directory))
  expect_error(
    sign_in(method = "paste"),
    "nothing was pasted",
    class = "entrar_error_sign_in_required"
  )
  expect_null(azure_account())
})

test_that("an agent that was killed is followed by another one at the next sign-in", {
  local_sign_in()
  sign_in()
  status <- run_program(c(entrar_program(), "agent", "status"))$output
  line <- grep("process [0-9]+", status, value = TRUE)
  kill_agent(as.integer(sub(".*process ([0-9]+).*", "\\1", line)))
  expect_false(has_azure_session())
  expect_null(azure_account())
  expect_error(getDelegatedAzureToken("graph"), class = "entrar_error_no_session")
  sign_in()
  expect_identical(getDelegatedAzureToken("graph")$token_type, "Bearer")
})

test_that("a directory that others may enter is no place for an agent", {
  skip_on_os("windows")
  directory <- local_sign_in()
  dir.create(directory)
  Sys.chmod(directory, "0755")
  expect_error(sign_in(), class = "entrar_error_no_session")
  expect_null(azure_account())
})
