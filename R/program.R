# Other programs, which Ctrl-C ends.

# Runs a program, `words` being its path and its arguments: its `status` (`NA` if it was ended, as after `limit`
# seconds) and the lines of its `output` and of its `errors`. Output that holds a secret is not kept, since it would be
# kept in a file.
run_program <- function(
  words,
  variables = character(),
  input = character(),
  keep_output = TRUE,
  limit = 30
) {
  files <- tempfile(c("input", "output", "errors"), tmpdir = tempdir(check = TRUE))
  on.exit(unlink(files))
  writeLines(enc2utf8(input), files[[1]], useBytes = TRUE)
  if (!keep_output) {
    files[[2]] <- ""
  }
  done <- program_status(enc2utf8(unname(words)), enc2utf8(variables), enc2utf8(files), limit)
  if (!is.null(done$interrupt)) {
    raise(done$interrupt)
  }
  if (!is.null(done$failure)) {
    stop(sprintf("%s cannot be run: %s.", words[[1]], done$failure), call. = FALSE)
  }
  list(
    status = done$status,
    output = if (keep_output) readLines(files[[2]], warn = FALSE),
    errors = readLines(files[[3]], warn = FALSE)
  )
}
