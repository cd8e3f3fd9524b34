# A process that nobody waits for any more may still be listed.
is_running <- function(pid) {
  state <- tryCatch(
    suppressWarnings(readLines(sprintf("/proc/%d/stat", pid))),
    error = function(e) NULL
  )
  if (is.null(state)) tools::pskill(pid, 0) else !grepl("\\) Z ", state)
}

# The processes that R has started and that have not ended.
children <- function() {
  stat <- Sys.glob("/proc/[0-9]*/stat")
  lines <- suppressWarnings(lapply(stat, function(file) {
    tryCatch(readLines(file), error = function(e) "")
  }))
  sum(grepl(sprintf("\\) [^Z] %d ", Sys.getpid()), unlist(lines)))
}

get_with <- function(address, resource) {
  connection <- url(address, headers = unlist(azure_headers(resource)))
  on.exit(close(connection))
  paste(readLines(connection, warn = FALSE), collapse = "\n")
}

test_that("the code is in a session whose tokens its services accept", {
  local_session(NA)
  expect_false(has_azure_session())
  azure <- local_emulated_azure()
  expect_true(has_azure_session())
  expect_named(azure, c("graph", "blob", "vault", "person"))
  expect_identical(azure$person, "Ada Example")
  expect_identical(azure$vault, Sys.getenv("ENTRAR_DEMO_VAULT"))

  expect_match(get_with(paste0(azure$graph, "/v1.0/me"), "graph"), azure$person)
  expect_match(get_with(paste0(azure$blob, "?comp=list"), "storage"), "measurements")
  secrets <- paste0(azure$vault, "/secrets?api-version=7.4")
  expect_match(get_with(secrets, "key_vault"), "database-password")
  lifetime <- getDelegatedAzureToken("sql")$expires_at - as.numeric(Sys.time())
  expect_lt(abs(lifetime - 3599), 60)
})

test_that("it gives what the code gives, and leaves nothing", {
  # Nothing of what it sets is set before.
  local_session(NA, NA)
  before <- Sys.getenv()
  kept <- with_emulated_azure({
    azure_token("graph")
    list(pid = emulated_pid(), directory = Sys.getenv("PWB_SESSION_RUNTIME_DIR"))
  })
  expect_environment(before)
  expect_false(tools::pskill(kept$pid, 0))
  expect_false(dir.exists(kept$directory))
  expect_length(Sys.glob(file.path(tempdir(), "emulated-azure-*")), 0)
  expect_error(azure_token("graph"), class = "entrar_error_no_session")
})

test_that("a token of before is not one of its session, nor one of its session good after it", {
  address <- wire_address(list(token_reply(access_token = "CANARY-outside")))
  local_session(address)
  azure_forget()
  outside <- function() identical(azure_token(storage), "CANARY-outside")
  expect_true(outside())
  expect_false(with_emulated_azure(outside()))
  expect_true(outside())
  azure_forget()
})

for (fault in setdiff(emulated_faults, "slow")) {
  test_that(paste("a fault is a condition of its own class:", fault), {
    local_session(NA)
    local_emulated_azure(faults = fault)
    error <- expect_error(azure_token("graph"), class = paste0("entrar_error_", fault))
    expected <- list(
      sign_in_required = list(aadsts = 700082L, suberror = NA_character_),
      consent_required = list(aadsts = 65001L, suberror = "consent_required"),
      access_denied = list(aadsts = 53003L, suberror = "message_only"),
      throttled = list(aadsts = integer(), retry_after = 60, retryable = TRUE),
      unavailable = list(aadsts = 90033L, retryable = TRUE)
    )
    expect_identical(unclass(error)[names(expected[[fault]])], expected[[fault]])
    expect_identical(is.na(error$claims), fault != "access_denied")
  })
}

test_that("a slow tenant is a matter of how long one waits", {
  local_session(NA)
  asked <- NULL
  with_emulated_azure(
    {
      expect_type(azure_token("storage"), "character")
      withr::local_options(entrar.timeout = 0.5)
      asked <- Sys.time()
      expect_error(azure_token("graph"), class = "entrar_error_timeout")
    },
    faults = c(graph = "slow")
  )
  # The tenant is not waited for, which takes ten seconds.
  expect_lt(as.numeric(Sys.time() - asked, units = "secs"), 9)
})

test_that("each resource may have a fault of its own", {
  local_session(NA)
  local_emulated_azure(
    faults = c("consent_required", sql = "access_denied", "api://x" = "throttled")
  )
  expect_error(azure_token("graph"), class = "entrar_error_consent_required")
  expect_error(azure_token("sql"), class = "entrar_error_access_denied")
})

test_that("tokens of a short life are renewed", {
  local_session(NA)
  local_emulated_azure(token_lifetime = 2)
  first <- azure_token("graph")
  Sys.sleep(1.2)
  expect_false(identical(azure_token("graph"), first))
})

test_that("an error in the code leaves nothing", {
  local_session(NA)
  before <- Sys.getenv()
  pid <- NULL
  fails <- function() {
    local_emulated_azure()
    pid <<- emulated_pid()
    stop("mine")
  }
  expect_error(fails(), "mine")
  expect_environment(before)
  expect_false(tools::pskill(pid, 0))
  expect_error(with_emulated_azure(fails()), "mine")
  expect_environment(before)
})

test_that("an interrupt leaves nothing, whenever it comes", {
  skip_if_not(dir.exists("/proc/self"), "no /proc to find processes in")
  local_session(NA)
  before <- Sys.getenv()
  running <- children()
  for (seconds in c(0, 0.02, 0.1, 0.5, 1)) {
    caught <- tryCatch(
      {
        interrupt_after(seconds)
        with_emulated_azure(Sys.sleep(60))
      },
      interrupt = identity
    )
    expect_s3_class(caught, "interrupt")
    expect_environment(before)
    # The shell that has sent the interrupt may still be about to end.
    wait_for(children() <= running, "the processes to end")
  }
  expect_length(Sys.glob(file.path(tempdir(), "emulated-azure-*")), 0)
})

test_that("one within another gives way to the outer one", {
  local_session(NA)
  outer <- local_emulated_azure()
  pid <- emulated_pid()
  inner <- with_emulated_azure(
    {
      expect_error(azure_token("graph"), class = "entrar_error_throttled")
      Sys.getenv("ENTRAR_DEMO_GRAPH")
    },
    faults = "throttled"
  )
  expect_false(inner == outer$graph)
  expect_identical(emulated_pid(), pid)
  expect_match(get_with(paste0(outer$graph, "/v1.0/me"), "graph"), "Ada")
})

test_that("what the code has started holds up no end", {
  local_session(NA)
  file <- withr::local_tempfile()
  script <- sprintf("echo $$ >'%s.new'; mv '%s.new' '%s'; exec sleep 600", file, file, file)
  with_emulated_azure({
    system2("sh", c("-c", shQuote(script)), wait = FALSE)
    wait_for(file.exists(file), "the script")
  })
  pid <- as.integer(readLines(file))
  expect_true(is_running(pid))
  tools::pskill(pid)
})

test_that("an R that is killed takes it along", {
  skip_if_not(nzchar(Sys.which("setsid")), "no setsid")
  local_session(NA)
  output <- run_script(
    "with_emulated_azure({",
    "  cat(Sys.getenv('ENTRAR_DEMO_PID'), '')",
    "  tools::pskill(Sys.getpid(), 9)",
    "})"
  )
  pid <- as.integer(sub(" .*", "", output))
  wait_for(!is_running(pid), "the process to end")
  succeed()
})

test_that("a process that was killed leaves no cookie on disk", {
  local_session(NA)
  directory <- with_emulated_azure({
    tools::pskill(emulated_pid(), 9)
    Sys.getenv("PWB_SESSION_RUNTIME_DIR")
  })
  expect_match(basename(directory), "^entrar-demo-")
  expect_false(dir.exists(directory))
})

test_that("no directory is removed but one that the command has made", {
  other <- withr::local_tempdir()
  remove_runtime_directory(other)
  expect_true(dir.exists(other))
})

test_that("Ctrl-C is for R alone, whose code may go on", {
  skip_if_not(nzchar(Sys.which("setsid")), "no setsid")
  local_session(NA)
  output <- run_script(
    "with_emulated_azure({",
    "  tryCatch(",
    "    {",
    "      interrupt_after(0, to = 0L)",
    "      Sys.sleep(60)",
    "    },",
    "    interrupt = function(e) cat('caught ')",
    "  )",
    "  cat(class(getDelegatedAzureToken('graph')))",
    "})"
  )
  expect_identical(output, "caught entrar_token")
})

test_that("a command that ends at once is not waited for", {
  local_session(NA)
  file <- withr::local_tempfile()
  command <- demo_command(c("demo", "--no-such-option"), ended_file(file))
  process <- pipe(paste(command, "2>/dev/null"), "w")
  on.exit(close(process))
  # Left alone, the limit would end whatever test runs then.
  withr::defer(setTimeLimit())
  setTimeLimit(elapsed = 120)
  expect_error(wait_for_variables(file, seconds = Inf), "did not start")
})

test_that("an environment that does not end is an error, and nothing has begun", {
  local_session(NA)
  before <- Sys.getenv()
  for (env in list(globalenv(), new.env(), baseenv())) {
    expect_error(local_emulated_azure(env = env), "is running")
  }
  expect_environment(before)
})

test_that("bad arguments are errors", {
  for (bad in list(0, 86401, 1.5, NA, "2", c(1, 2), NULL)) {
    expect_error(with_emulated_azure(1, token_lifetime = bad), "`token_lifetime` must be")
  }
  for (bad in list("fast", NA, c(graph = "fast"), 1)) {
    expect_error(with_emulated_azure(1, faults = bad), "`faults` must be among")
  }
  twice <- list(c("slow", "slow"), c(graph = "slow", "https://graph.microsoft.com" = "slow"))
  for (bad in twice) {
    expect_error(with_emulated_azure(1, faults = bad), "at most one for each")
  }
  expect_error(
    with_emulated_azure(1, faults = c(grpah = "slow")),
    class = "entrar_error_bad_resource"
  )
})

test_that("the example of a package's tests passes", {
  skip_if_not_installed("httr2")
  local_session(NA)
  example <- system.file("examples", "test-my-package.R", package = "entrar")
  results <- as.data.frame(test_file(example, reporter = "silent"))
  expect_identical(nrow(results), 6L)
  expect_identical(sum(results$failed, results$error, results$skipped, results$warning), 0L)
})
