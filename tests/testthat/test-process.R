# Interrupts, forks, and what many calls leave behind.

# Longer than a call may take.
hanging <- function() wire_address(list(list("wait", 60)))

test_that("an interrupt ends a hanging call within 200 ms, and the next call works", {
  when <- withr::local_tempfile()
  delays <- vapply(
    c(0, 0.1, 0.3, 0.5, 0.7),
    function(seconds) {
      local_session(wire_address(c(interrupting(when, seconds), list(list("wait", 60)))))
      caught <- tryCatch(getDelegatedAzureToken(storage), interrupt = identity)
      delay <- seconds_since(when)
      expect_s3_class(caught, c("interrupt", "condition"), exact = TRUE)

      local_session(wire_address(list(token_reply())))
      expect_s3_class(getDelegatedAzureToken(storage), "entrar_token")
      delay
    },
    0
  )
  # A busy machine delays some of them.
  expect_lt(min(delays), 0.2)
  expect_lt(max(delays), 20)
})

test_that("an interrupt ends the wait between two attempts", {
  busy <- reply(status = "503 Service Unavailable", headers = "Retry-After: 20")
  when <- withr::local_tempfile()
  local_session(wire_address(c(list(busy), interrupting(when, 0.3))))
  expect_s3_class(
    tryCatch(getDelegatedAzureToken(storage), interrupt = identity),
    "interrupt"
  )
  # The wait would be one of 20 seconds.
  expect_lt(seconds_since(when), 15)
})

test_that("an interrupt that nobody catches goes back to the top", {
  skip_if_not(nzchar(Sys.which("setsid")), "no setsid")
  local_session(hanging())
  output <- run_script(
    "cat('begun\\n')",
    "interrupt_after(0.3)",
    "try(getDelegatedAzureToken('https://storage.azure.com'))",
    "cat('not reached\\n')"
  )
  expect_true("begun" %in% output)
  expect_false(any(grepl("not reached", output)))
  expect_false(any(grepl(canary, output)))
  expect_false(attr(output, "status") == 0)
})

test_that("a time limit of R's own ends a hanging call as the error that it is", {
  local_session(hanging())
  started <- Sys.time()
  error <- tryCatch(
    {
      setTimeLimit(elapsed = 0.5, transient = TRUE)
      getDelegatedAzureToken(storage)
    },
    error = identity,
    interrupt = function(e) "an interrupt"
  )
  setTimeLimit()
  expect_s3_class(error, "error")
  expect_match(conditionMessage(error), "time limit")
  expect_lt(as.numeric(Sys.time() - started, units = "secs"), 20)

  local_session(wire_address(list(token_reply())))
  expect_s3_class(getDelegatedAzureToken(storage), "entrar_token")
})

test_that("a pipe in the place of the cookie's file keeps nobody waiting", {
  skip_on_os("windows")
  directory <- withr::local_tempdir()
  system2("mkfifo", file.path(directory, "rpc_cookie"))
  local_session("http://127.0.0.1:1", NA, PWB_SESSION_RUNTIME_DIR = directory)
  expect_error(getDelegatedAzureToken(storage), class = "entrar_error_bad_cookie")
})

test_that("eight forked children get a token each after the parent made a call", {
  skip_on_os("windows")
  address <- wire_address(list(token_reply()))
  local_session(address)
  getDelegatedAzureToken(storage)
  tokens <- parallel::mclapply(
    1:8,
    function(i) class(getDelegatedAzureToken(storage)),
    mc.cores = 8
  )
  expect_identical(tokens, rep(list("entrar_token"), 8))
  expect_s3_class(getDelegatedAzureToken(storage), "entrar_token")
  expect_length(requests_at(address), 10)
})

test_that("fifteen thousand calls leave memory, files and threads as they were", {
  skip_if_not(dir.exists("/proc/self/fd"), "no /proc to read memory and files from")
  local_session(wire_address(list(token_reply())))
  rounds <- lapply(1:5, function(round) {
    for (i in 1:3000) {
      getDelegatedAzureToken(storage)
    }
    resources()
  })
  # R's own heap may grow for a while; what leaks grows in every round.
  growth <- diff(vapply(rounds, function(round) round[["memory"]], 0))
  expect_lt(min(growth), 1000)
  # What other tests have left open may be closed meanwhile.
  expect_lte(rounds[[5]][["files"]], rounds[[1]][["files"]])
  expect_identical(rounds[[5]][["threads"]], rounds[[1]][["threads"]])
})

test_that("a name that is looked up leaves no thread behind", {
  skip_if_not(dir.exists("/proc/self/fd"), "no /proc to read threads from")
  local_session("http://server.invalid")
  before <- resources()[["threads"]]
  expect_error(
    suppressWarnings(getDelegatedAzureToken(storage)),
    class = "entrar_error_unreachable"
  )
  wait_for(resources()[["threads"]] == before, "the thread to end")
  succeed()
})

test_that("an R that had no memory for the first call can make the next one", {
  skip_if_not(nzchar(Sys.which("setsid")), "no setsid")
  local_session(NA, R_MAX_VSIZE = "150Mb")
  output <- run_script(
    "hoard <- list()",
    "repeat {",
    "  more <- tryCatch(numeric(5e4), error = function(e) NULL)",
    "  if (is.null(more)) break",
    "  hoard[[length(hoard) + 1]] <- more",
    "}",
    "invisible(try(has_azure_session(), silent = TRUE))",
    "rm(hoard)",
    "cat(has_azure_session())"
  )
  expect_identical(output, "FALSE")
})

test_that("an R that had no file left for the first call can make the next one", {
  skip_if_not(nzchar(Sys.which("setsid")) && nzchar(Sys.which("prlimit")), "no setsid or prlimit")
  local_session(wire_address(list(token_reply())))
  output <- run_script(
    "limit <- function(n) system2('prlimit', c(sprintf('--nofile=%d:1024', n), '--pid', Sys.getpid()))",
    "limit(40)",
    "files <- list()",
    "repeat {",
    "  more <- suppressWarnings(tryCatch(file('/dev/null', 'r'), error = function(e) NULL))",
    "  if (is.null(more)) break",
    "  files[[length(files) + 1]] <- more",
    "}",
    # Enough for some of what a call needs.
    "for (file in files[1:3]) close(file)",
    "error <- tryCatch(getDelegatedAzureToken('r'), error = identity)",
    "for (file in files[-(1:3)]) close(file)",
    "limit(1024)",
    "cat(class(error)[1:2], class(getDelegatedAzureToken('r')))"
  )
  expect_identical(output, "entrar_error_unavailable entrar_error entrar_token")
})

# Tcl's timers run R code while R looks for an interrupt.
skip_if_no_timers <- function() {
  skip_if_not(nzchar(Sys.which("setsid")) && capabilities("tcltk"), "no setsid or Tcl")
}

test_that("R code that asks again while R looks for an interrupt is told so, and both go on", {
  skip_if_no_timers()
  local_session(wire_address(list(list("wait", 1), token_reply()), list(token_reply())))
  output <- run_script(
    "suppressWarnings(library(tcltk))",
    "inner <- NULL",
    "ask <- function() inner <<- tryCatch(getDelegatedAzureToken('r'), error = identity)",
    "invisible(tcl('after', 100, ask))",
    "outer <- getDelegatedAzureToken('r')",
    "cat(class(inner)[[1]], conditionMessage(inner), class(outer), class(getDelegatedAzureToken('r')), sep = '\n')"
  )
  expect_identical(
    output[c(1, 5, 6)],
    c("entrar_error_unavailable", "entrar_token", "entrar_token")
  )
  expect_match(output[[2]], "another question is under way in this R process")
})

test_that("an R that runs out of memory in the middle of a call can make the next one", {
  skip_if_no_timers()
  local_session(
    wire_address(list(list("wait", 1), token_reply()), list(token_reply())),
    R_MAX_VSIZE = "150Mb"
  )
  output <- run_script(
    "suppressWarnings(library(tcltk))",
    "hoard <- NULL",
    "fill <- function() {",
    "  for (n in c(1e6, 1e5, 1e4, 1e3)) try(repeat hoard <<- list(hoard, numeric(n)), silent = TRUE)",
    "  repeat hoard <<- list(hoard, numeric(1))",
    "}",
    "for (delay in c(100, 200, 300)) invisible(tcl('after', delay, fill))",
    "outcome <- tryCatch(class(getDelegatedAzureToken('r')), error = identity, interrupt = identity)",
    "full <- !is.null(hoard)",
    "hoard <- NULL",
    "invisible(gc())",
    "cat(full, class(getDelegatedAzureToken('r')), '\\n')"
  )
  expect_true("TRUE entrar_token " %in% output)
})
