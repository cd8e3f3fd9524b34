# Sign-ins at the emulated tenant, by an agent of the test's own and a browser without a window.

graph <- "https://graph.microsoft.com"

# What an R process of its own prints.
rscript <- function(...) {
  system2(
    file.path(R.home("bin"), "Rscript"),
    c("--vanilla", "-e", shQuote(paste(c("library(entrar)", ...), collapse = "; "))),
    stdout = TRUE,
    stderr = TRUE
  )
}

# What this sign-in fails with. Nothing secret is in the message.
failed_sign_in <- function(...) {
  error <- tryCatch(signed_in(...), error = identity)
  expect_s3_class(error, "entrar_error")
  expect_false(any(grepl("canary", conditionMessage(error), ignore.case = TRUE)))
  error
}

# Messages without what differs from run to run.
steady <- function(text) {
  tenant <- emulated_tenant()
  text <- gsub(tenant$authority, "<authority>", text, fixed = TRUE)
  text <- gsub(tenant$id, "<tenant>", text, fixed = TRUE)
  text <- gsub("[0-9]{2}:[0-9]{2}(:[0-9]{2})?", "<time>", text)
  text <- gsub("[0-9]{4}-[0-9]{2}-[0-9]{2} <time>( [A-Z]+|Z)?", "<date>", text)
  gsub("(trace|correlation) id: [^ ;)]*", "\\1 id: <id>", text, ignore.case = TRUE)
}

test_that("after a sign-in this R, a new one and a forked one have tokens, until the sign-out", {
  local_own_agent()
  expect_false(has_azure_session())
  expect_null(azure_account())

  account <- signed_in()
  expect_s3_class(account, "entrar_account")
  expect_identical(account$username, "ada@example.com")
  expect_identical(account$name, "Ada Example")
  expect_identical(account$tenant, emulated_tenant()$id)
  expect_identical(account$client_id, emulated_tenant()$client_id)
  expect_identical(account$authority, emulated_tenant()$authority)
  expect_identical(account$method, "browser")
  expect_lt(abs(as.numeric(Sys.time() - account$since, units = "secs")), 300)
  expect_identical(azure_account(), account)

  expect_true(has_azure_session())
  expect_s3_class(getDelegatedAzureToken(graph), "entrar_token")
  expect_identical(rscript("cat(class(getDelegatedAzureToken('storage')))"), "entrar_token")
  forked <- parallel::mclapply(1, function(i) class(getDelegatedAzureToken(graph)))
  expect_identical(forked, list("entrar_token"))

  expect_message(gone <- azure_sign_out(), "ada@example.com is signed out", fixed = TRUE)
  expect_identical(gone, account)
  expect_false(has_azure_session())
  expect_error(getDelegatedAzureToken(graph), class = "entrar_error_no_session")
  expect_message(expect_null(azure_sign_out()), "Nobody is signed in")
})

test_that("what is printed of an account holds no secret", {
  local_own_agent()
  account <- signed_in()
  expect_snapshot(print(account), transform = steady)
  expect_identical(
    names(account),
    c("username", "name", "tenant", "object_id", "client_id", "authority", "method", "since")
  )
  # No JSON Web Token, and none of the emulator's refresh tokens.
  shown <- capture.output(print(account), str(account), dput(account))
  expect_false(any(grepl("eyJ|refresh", shown)))
})

test_that("where no browser reaches this machine, the address at which it ended is pasted", {
  local_own_agent()
  prompts <- character()
  told <- character()
  answer <- function(prompt) {
    prompts <<- c(prompts, prompt)
    if (length(prompts) == 1) {
      return("http://localhost/?code=canary&state=canary")
    }
    address <- grep("^http", strsplit(told[[1]], "\n")[[1]], value = TRUE)
    # As one pastes it, with a space too many.
    paste0(browse(address, user = "bob@example.com", stay = TRUE), " ")
  }
  withr::local_options(entrar.ask = TRUE, entrar.answer = answer)
  tenant <- emulated_tenant()
  account <- withCallingHandlers(
    azure_sign_in(
      tenant$id,
      tenant$client_id,
      method = "paste",
      authority = tenant$authority
    ),
    message = function(m) {
      told <<- c(told, conditionMessage(m))
      invokeRestart("muffleMessage")
    }
  )
  expect_identical(account$username, "bob@example.com")
  expect_identical(account$method, "paste")
  expect_length(prompts, 2)
  expect_match(told[[2]], "That is not the address", fixed = TRUE)
  expect_false(any(grepl("canary", told)))
  expect_s3_class(getDelegatedAzureToken(graph), "entrar_token")
})

test_that("who pastes nothing is not signed in", {
  local_own_agent()
  withr::local_options(entrar.ask = TRUE, entrar.answer = function(prompt) " ")
  error <- failed_sign_in(method = "paste")
  expect_identical(error$kind, "sign_in_required")
  expect_match(conditionMessage(error), "nothing was pasted")
  expect_null(azure_account())
})

test_that("a device code is shown, and waited for", {
  local_own_agent()
  tenant <- emulated_tenant()
  answered <- FALSE
  account <- withCallingHandlers(
    azure_sign_in(
      tenant$id,
      tenant$client_id,
      method = "device_code",
      authority = tenant$authority
    ),
    message = function(m) {
      text <- conditionMessage(m)
      if (grepl("type this code", text)) {
        lines <- trimws(strsplit(text, "\n")[[1]])
        address <- sub("^Open (\\S+) .*", "\\1", lines[[1]])
        browse(address, user_code = lines[[3]], user = "bob@example.com")
        answered <<- TRUE
      }
      invokeRestart("muffleMessage")
    }
  )
  expect_true(answered)
  expect_identical(account$username, "bob@example.com")
  expect_identical(account$method, "device_code")
})

test_that("what the person or the tenant refuses is an error that says what to do", {
  local_own_agent()
  denied <- failed_sign_in(answer = "deny")
  expect_identical(denied$kind, "consent_required")
  elsewhere <- failed_sign_in(tenant = "elsewhere.example")
  expect_identical(elsewhere$kind, "misconfigured")
  expect_null(azure_account())
  expect_snapshot(
    cat(conditionMessage(denied), conditionMessage(elsewhere), sep = "\n\n"),
    transform = steady
  )
  # The next one can succeed.
  expect_identical(signed_in()$username, "ada@example.com")
})

test_that("without an app both ways to one are named", {
  local_own_agent()
  expect_snapshot(azure_sign_in(), error = TRUE)
  expect_false(dir.exists(Sys.getenv("ENTRAR_RUNTIME_DIR")))
})

test_that("the app and its tenant come from options, and from variables before those", {
  local_own_agent(AZURE_CLIENT_ID = emulated_tenant()$client_id)
  withr::local_options(
    entrar.tenant = emulated_tenant()$id,
    entrar.client_id = "99999999-2222-3333-4444-555555555555"
  )
  account <- signed_in(tenant = NULL, client_id = NULL)
  expect_identical(account$client_id, emulated_tenant()$client_id)
  expect_identical(account$tenant, emulated_tenant()$id)
})

test_that("with Azure CLI's app nothing is pasted", {
  local_own_agent()
  withr::local_options(entrar.ask = TRUE)
  error <- failed_sign_in(client_id = "azure-cli", method = "paste")
  expect_identical(error$kind, "misconfigured")
  expect_match(conditionMessage(error), "nothing is pasted")
})

test_that("a script that nobody can paste into is told so", {
  local_own_agent()
  expect_error(signed_in(method = "paste"), "nobody can be asked to paste", fixed = TRUE)
  expect_false(dir.exists(Sys.getenv("ENTRAR_RUNTIME_DIR")))
})

test_that("arguments that are none are refused before anything is started", {
  local_own_agent()
  for (bad in list(1, c("a", "b"), NA_character_, "")) {
    expect_error(azure_sign_in(bad), "`tenant` must be one non-empty string")
    expect_error(azure_sign_in(client_id = bad), "`client_id` must be one non-empty string")
  }
  expect_error(azure_sign_in("a", "b", "browser", "c"), "given by name")
  expect_error(azure_sign_in(method = "carrier pigeon"), "should be one of")
  expect_error(azure_sign_in(replace = "yes"), "TRUE, FALSE or NA")
  secret <- failed_sign_in(client_id = "canary")
  expect_identical(secret$kind, "misconfigured")
  expect_false(dir.exists(Sys.getenv("ENTRAR_RUNTIME_DIR")))
})

test_that("Workbench and Connect sign people in themselves", {
  local_own_agent(RS_SERVER_ADDRESS = "http://127.0.0.1:1")
  expect_identical(failed_sign_in()$kind, "access_denied")
  local_own_agent(POSIT_PRODUCT = "CONNECT")
  expect_identical(failed_sign_in()$kind, "no_session")
})

test_that("another account takes the place of the first if that is wanted", {
  local_own_agent()
  asked <- character()
  say <- function(answer) {
    function(prompt) {
      asked <<- c(asked, prompt)
      answer
    }
  }
  first <- signed_in()
  expect_s3_class(getDelegatedAzureToken(graph), "entrar_token")
  # Nobody can be asked.
  kept <- failed_sign_in(user = "bob@example.com")
  expect_identical(kept$kind, "access_denied")
  expect_match(conditionMessage(kept), "ada@example.com is signed in, and stays so", fixed = TRUE)
  expect_identical(failed_sign_in(user = "bob@example.com", replace = FALSE)$kind, "access_denied")
  withr::local_options(entrar.ask = TRUE, entrar.answer = say("no"))
  expect_identical(failed_sign_in(user = "bob@example.com")$kind, "access_denied")
  expect_identical(azure_account(), first)
  expect_length(asked, 1)

  withr::local_options(entrar.answer = say("yes"))
  expect_identical(signed_in(user = "bob@example.com")$username, "bob@example.com")
  expect_match(asked[[2]], "Sign in as bob@example.com in their place", fixed = TRUE)
  # Who has just signed in here is not warned.
  expect_silent(getDelegatedAzureToken(graph))
  expect_identical(signed_in(replace = TRUE)$username, "ada@example.com")
  expect_length(asked, 2)
  # The same account needs no leave.
  expect_identical(signed_in(replace = FALSE)$username, "ada@example.com")
})

test_that("another R process drops what it kept of the first account, and warns once", {
  directory <- local_own_agent()
  signed_in()
  go <- file.path(dirname(directory), "go")
  ready <- file.path(dirname(directory), "ready")
  output <- file.path(dirname(directory), "output")
  script <- withr::local_tempfile(
    lines = c(
      "library(entrar)",
      "first <- azure_token('storage')",
      sprintf("invisible(file.create('%s'))", ready),
      sprintf("for (i in 1:6000) if (file.exists('%s')) break else Sys.sleep(0.02)", go),
      "warnings <- 0",
      "count <- function(w) {",
      "  warnings <<- warnings + 1",
      "  invokeRestart('muffleWarning')",
      "}",
      "tokens <- withCallingHandlers(",
      "  c(azure_token('storage'), azure_token('storage'), azure_token('graph')),",
      "  warning = count",
      ")",
      "cat(warnings, first %in% tokens, tokens[[1]] == tokens[[2]])"
    )
  )
  rscript <- file.path(R.home("bin"), "Rscript")
  system2(rscript, c("--vanilla", script), stdout = output, stderr = output, wait = FALSE)
  wait_for(file.exists(ready), "the other process")
  signed_in(user = "bob@example.com", replace = TRUE)
  file.create(go)
  wait_for(any(nzchar(readLines(output, warn = FALSE))), "its answer")
  expect_identical(readLines(output, warn = FALSE), "1 FALSE TRUE")
})

test_that("an interrupt ends a sign-in, and the next one begins anew", {
  skip_if_not(nzchar(Sys.which("setsid")), "no setsid")
  local_own_agent()
  tenant <- emulated_tenant()
  sign_in <- sprintf(
    "azure_sign_in('%s', '%s', 'browser', authority = '%s')",
    tenant$id,
    tenant$client_id,
    tenant$authority
  )
  output <- run_script(
    "address <- NULL",
    "options(browser = function(url) {",
    "  address <<- url",
    "  interrupt_after(0.5)",
    "})",
    "started <- Sys.time()",
    sprintf("caught <- tryCatch(suppressMessages(%s), interrupt = identity)", sign_in),
    "cat(class(caught)[[1]], as.numeric(Sys.time() - started, units = 'secs') < 60, '\\n')",
    # The page that the browser was sent to begins nothing any more.
    "page <- tryCatch(suppressWarnings(readLines(address)), error = function(e) 'no page')",
    "cat(any(grepl('no page', page)), is.null(azure_account()), '\\n')"
  )
  expect_identical(trimws(output), c("interrupt TRUE", "TRUE TRUE"))
  expect_identical(signed_in()$username, "ada@example.com")
})

test_that("an agent that was killed is followed by another one", {
  directory <- local_own_agent()
  signed_in()
  status <- run_program(c(entrar_program(), "agent", "status"))$output
  pid <- as.integer(sub(".*process ([0-9]+).*", "\\1", grep("process", status, value = TRUE)[[1]]))
  kill_agent(pid)
  expect_false(has_azure_session())
  expect_null(azure_account())
  expect_error(getDelegatedAzureToken(graph), class = "entrar_error_no_session")
  expect_identical(signed_in()$username, "ada@example.com")
  expect_s3_class(getDelegatedAzureToken(graph), "entrar_token")
})

test_that("other people's clients find the agent by variables, without the cookie among them", {
  directory <- local_own_agent(RSTUDIO_VERSION = "2023.06.1")
  expect_error(azure_session_env(), class = "entrar_error_no_session")
  signed_in()
  variables <- azure_session_env()
  expect_named(
    variables,
    c("RS_SERVER_ADDRESS", "PWB_SESSION_RUNTIME_DIR", "ENTRAR_ORIGIN"),
    ignore.order = TRUE
  )
  expect_identical(Sys.getenv(names(variables)), variables)
  expect_match(variables[["RS_SERVER_ADDRESS"]], "^http://127[.]0[.]0[.]1:[0-9]+$")
  expect_identical(variables[["ENTRAR_ORIGIN"]], "agent")
  expect_identical(Sys.getenv("RS_SESSION_RPC_COOKIE"), "")
  expect_identical(Sys.getenv("RSTUDIO_VERSION"), "")
  cookie <- file.path(variables[["PWB_SESSION_RUNTIME_DIR"]], "rpc_cookie")
  expect_identical(format(file.mode(cookie)), "600")
  expect_s3_class(getDelegatedAzureToken(graph), "entrar_token")

  # The cookie itself, where it was asked for.
  inline <- azure_session_env(inline = TRUE)
  expect_false("RS_SESSION_RPC_COOKIE" %in% names(inline))
  expect_true(nzchar(Sys.getenv("RS_SESSION_RPC_COOKIE")))
  azure_session_env()
  expect_identical(Sys.getenv("RS_SESSION_RPC_COOKIE"), "")
})

test_that("variables of an agent that is gone are those of the new one after the next sign-in", {
  local_own_agent(RSTUDIO_VERSION = NA)
  signed_in()
  old <- azure_session_env()
  suppressMessages(azure_sign_out())
  expect_error(getDelegatedAzureToken(graph), class = "entrar_error")
  signed_in()
  expect_false(identical(Sys.getenv("RS_SERVER_ADDRESS"), old[["RS_SERVER_ADDRESS"]]))
  expect_s3_class(getDelegatedAzureToken(graph), "entrar_token")
  expect_identical(azure_account()$username, "ada@example.com")
})

test_that("an agent's directory that others may open is not used", {
  directory <- local_own_agent()
  dir.create(directory)
  Sys.chmod(directory, "0755")
  error <- failed_sign_in()
  expect_identical(error$kind, "no_session")
  expect_null(azure_account())
})
