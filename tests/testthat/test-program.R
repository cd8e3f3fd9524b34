# Programs that R waits for.

shell <- function(script, ...) run_program(c("/bin/sh", "-c", script), ...)

# A session of nobody's, in which this script is git.
local_git <- function(..., frame = parent.frame()) {
  directory <- withr::local_tempdir(.local_envir = frame)
  git <- file.path(directory, "git")
  writeLines(c(...), git)
  Sys.chmod(git, "0755")
  local_session(NA, PATH = paste(directory, Sys.getenv("PATH"), sep = ":"), frame = frame)
}

test_that("a program's status and lines come back, and it sees its input and its variables", {
  done <- shell(
    "cat; echo $GREETING; echo no >&2; exit 3",
    "GREETING=hello you",
    input = c("a", "\u00e9")
  )
  expect_identical(done$status, 3L)
  expect_identical(done$output, c("a", "\u00e9", "hello you"))
  expect_identical(done$errors, "no")
})

test_that("output that is not to be kept is in no file", {
  before <- list.files(tempdir(), recursive = TRUE)
  done <- shell("to=$(readlink /proc/$$/fd/1); echo $to >&2", keep_output = FALSE)
  expect_null(done$output)
  expect_identical(done$errors, "/dev/null")
  expect_identical(list.files(tempdir(), recursive = TRUE), before)
})

test_that("what cannot be run is named, and what takes too long is ended", {
  nowhere <- run_program("/nowhere/x")
  expect_identical(nowhere$status, NA_integer_)
  expect_match(nowhere$errors, "/nowhere/x cannot be run: No such file", fixed = TRUE)
  expect_identical(shell("exec sleep 30", limit = 0.2)$status, NA_integer_)
  expect_identical(shell("kill -9 $$")$status, NA_integer_)
})

test_that("an interrupt ends the program too", {
  pid <- withr::local_tempfile()
  when <- withr::local_tempfile()
  # With a child of its own, as git has them.
  waiting <- sprintf("sleep 60 & echo $! >'%s'; %s; wait", pid, interrupt_from_shell(when))
  caught <- tryCatch(shell(waiting), interrupt = identity)
  expect_s3_class(caught, c("interrupt", "condition"), exact = TRUE)
  # It could have run for 30 seconds.
  expect_lt(seconds_since(when), 20)
  child <- as.integer(readLines(pid))
  wait_for(!tools::pskill(child, 0), "the program's child to end")
  succeed()
})

test_that("an interrupt ends the reports that wait for git", {
  when <- withr::local_tempfile()
  local_git("#!/bin/sh", interrupt_from_shell(when), "exec sleep 60")
  for (report in list(azure_sitrep, azure_git_sitrep)) {
    expect_s3_class(tryCatch(report(), interrupt = identity), "interrupt")
    expect_lt(seconds_since(when), 20)
  }
})

test_that("a temporary directory that was cleaned away is made again", {
  skip_if_not(nzchar(Sys.which("setsid")), "no setsid")
  output <- run_script(
    "unlink(tempdir(), recursive = TRUE)",
    "cat(entrar:::run_program(c('/bin/sh', '-c', 'echo fine'))$output)"
  )
  expect_identical(output, "fine")
})

test_that("a path that is not ASCII is found, and lines are read, whatever locale and options say", {
  skip_if_not(nzchar(Sys.which("setsid")), "no setsid")
  directory <- withr::local_tempdir()
  path <- file.path(directory, "\u00e9")
  writeLines(c("#!/bin/sh", "printf '\\303\\251'"), path)
  Sys.chmod(path, "0755")
  withr::local_envvar(LC_ALL = "C")
  output <- run_script(
    "options(encoding = 'UTF-16')",
    sprintf("path <- list.files('%s', full.names = TRUE)", directory),
    "cat(charToRaw(entrar:::run_program(path)$output))"
  )
  expect_identical(output, "c3 a9")
})

test_that("a git that cannot be run is in the report", {
  local_git("#!/nowhere/interpreter", "")
  expect_identical(azure_git_sitrep("x")$git, NA_character_)
})
