# Other programs, which Ctrl-C ends.

# Runs a program, `words` being its path and its arguments: its `status` (`NA` if it was ended, as after `limit`
# seconds, or could not be run) and the lines of its `output` and of its `errors`. Output that holds a secret is not
# kept, since it would be kept in a file.
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
  kept <- c(files[[1]], if (keep_output) files[[2]] else "", files[[3]])
  done <- unless_interrupted(
    program_status(as_bytes(words), as_bytes(variables), as_bytes(kept), limit)
  )
  if (!is.null(done$failure)) {
    why <- sprintf("%s cannot be run: %s.", words[[1]], done$failure)
    return(list(status = NA_integer_, output = character(), errors = why))
  }
  list(
    status = done$status,
    output = if (keep_output) read_lines(files[[2]]),
    errors = read_lines(files[[3]])
  )
}

# Text for Rust that the system gets as it is: in a locale such as "C", R would rewrite a path that is not ASCII.
as_bytes <- function(text) {
  text <- unname(text)
  if (.Platform$OS.type == "windows" || !all(validUTF8(text))) {
    return(enc2utf8(text))
  }
  Encoding(text) <- "UTF-8"
  text
}

# Whatever options(encoding) says of other files, and without bytes that are not text.
read_lines <- function(path) {
  connection <- file(path, encoding = "native.enc")
  on.exit(close(connection))
  iconv(readLines(connection, warn = FALSE, skipNul = TRUE), "UTF-8", "UTF-8", sub = "?")
}

# The path of the `entrar` command.
entrar_program <- function() {
  name <- if (.Platform$OS.type == "windows") "entrar.exe" else "entrar"
  program <- system.file("bin", name, package = "entrar")
  if (!nzchar(program)) {
    stop("The `entrar` command is not installed. Install the entrar package again.", call. = FALSE)
  }
  program
}
