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

test_that("where one's own agent listens there is a session, and its tokens need no cookie", {
  skip_on_os("windows")
  directory <- local_agents_directory()
  expect_false(has_azure_session())
  pid <- start_agent(directory)
  expect_true(has_azure_session())
  token <- getDelegatedAzureToken(storage)
  expect_identical(token$access_token, paste0(canary, "-1"))

  # An address comes first.
  withr::with_envvar(c(RS_SERVER_ADDRESS = "http://127.0.0.1:1"), {
    expect_error(getDelegatedAzureToken(storage), class = "entrar_error_bad_cookie")
  })

  kill_agent(pid)
  expect_true(file.exists(file.path(directory, "agent.sock")))
  expect_false(has_azure_session())
  error <- expect_error(getDelegatedAzureToken(storage), class = "entrar_error_no_session")
  expect_match(conditionMessage(error), "agent.sock) is not running any more.", fixed = TRUE)
  expect_match(conditionMessage(error), "Sign in with azure_sign_in()", fixed = TRUE)

  start_agent(directory)
  expect_identical(getDelegatedAzureToken(storage)$access_token, paste0(canary, "-1"))
})

test_that("a forked child asks the agent by a connection of its own", {
  skip_on_os("windows")
  start_agent(local_agents_directory())
  ask <- function(i) getDelegatedAzureToken(storage)$access_token
  tokens <- c(ask(0), unlist(parallel::mclapply(1:4, ask, mc.cores = 2)), ask(5))
  expect_setequal(tokens, paste0(canary, "-", 1:6))
})

test_that("what was kept of one sign-in is dropped at the next, and another account is told once", {
  skip_on_os("windows")
  directory <- local_agents_directory()
  start_agent(directory)
  number <- function() as.integer(sub(".*-", "", azure_token(storage)))
  note_sign_in(directory, "ada")
  # Whoever another test has signed in is not the one before.
  note_account()
  expect_identical(c(number(), number()), c(1L, 1L))

  # The same account once more.
  note_sign_in(directory, "ada")
  expect_identical(expect_silent(number()), 2L)
  # A sign-out, which the next sign-in follows.
  note_sign_in(directory, "")
  expect_identical(expect_silent(number()), 3L)

  note_sign_in(directory, "grace")
  expect_warning(expect_identical(number(), 4L), "Somebody else is signed in than before")
  expect_identical(expect_silent(number()), 4L)
  expect_silent(getDelegatedAzureToken(storage))
})

test_that("a directory or a socket of somebody else is not used, and the message says what to do", {
  skip_on_os("windows")
  directory <- local_agents_directory()
  socket <- file.path(directory, "agent.sock")
  said <- function() {
    expect_false(has_azure_session())
    error <- expect_error(getDelegatedAzureToken(storage), class = "entrar_error_no_session")
    message <- gsub(dirname(directory), "BASE", conditionMessage(error), fixed = TRUE)
    strsplit(message, "\n", fixed = TRUE)[[1]][1:2]
  }
  file.create(socket)
  shown <- c("# no socket", said())
  unlink(socket)

  Sys.chmod(directory, "0755")
  shown <- c(shown, "# open to others", said())
  Sys.chmod(directory, "0700")

  link <- file.path(dirname(directory), "link")
  file.symlink(directory, link)
  withr::local_envvar(ENTRAR_RUNTIME_DIR = link)
  shown <- c(shown, "# a link", said())
  withr::local_envvar(ENTRAR_RUNTIME_DIR = directory)

  expect_snapshot(writeLines(shown))

  skip_if_not(identical(Sys.info()[["effective_user"]], "root"), "another user is needed")
  Sys.chmod(dirname(directory), "0755")
  system2("chown", c("65534", directory))
  expect_match(said()[[1]], "BASE/entrar belongs to another user, of uid 65534")
  system2("chown", c("0", directory))
  start_agent(directory)
  expect_true(has_azure_session())
  system2("chown", c("65534", socket))
  expect_match(said()[[1]], "agent.sock belongs to another user, of uid 65534")
})

test_that("another user of the machine finds no session of one's own", {
  skip_on_os("windows")
  skip_if_not(nzchar(Sys.which("setpriv")), "setpriv is needed")
  skip_if_not(identical(Sys.info()[["effective_user"]], "root"), "another user is needed")
  directory <- local_agents_directory()
  start_agent(directory)
  Sys.chmod(dirname(directory), "0755")
  script <- "cat(tryCatch(entrar::getDelegatedAzureToken('r'), error = conditionMessage))"
  said <- system2(
    "setpriv",
    c(
      "--reuid=65534",
      "--clear-groups",
      file.path(R.home("bin"), "Rscript"),
      "--vanilla",
      "-e",
      shQuote(script)
    ),
    stdout = TRUE,
    stderr = TRUE
  )
  expect_match(said, "entrar belongs to another user, of uid 0", all = FALSE)
})
