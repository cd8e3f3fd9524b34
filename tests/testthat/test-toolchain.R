# The Rust that R's configure step chooses.

tools <- normalizePath(test_path("..", "..", "tools"), mustWork = FALSE)
skip_if_not(file.exists(file.path(tools, "config.R")), "the sources are not there")
skip_on_os("windows")

# A copy of what configure reads, and a person's own directory; on the PATH are two empty directories. What is returned
# puts a command of this version into a directory.
local_toolchains <- function(frame = parent.frame()) {
  root <- withr::local_tempdir(.local_envir = frame)
  dir.create(file.path(root, "src", "rust"), recursive = TRUE)
  sources <- c("DESCRIPTION", "src/Makevars.in", "src/rust/Cargo.toml")
  file.copy(file.path(dirname(tools), sources), file.path(root, sources))
  file.copy(tools, root, recursive = TRUE)
  withr::local_dir(root, .local_envir = frame)
  directories <- file.path(getwd(), c("old place", "new", ".cargo/bin"))
  lapply(directories, dir.create, recursive = TRUE)
  withr::local_envvar(
    HOME = getwd(),
    PATH = paste(directories[1:2], collapse = ":"),
    ENTRAR_TARGET_DIR = NA,
    .local_envir = frame
  )
  function(command, version, directory) {
    file <- file.path(getwd(), directory, command)
    writeLines(c("#!/bin/sh", sprintf("echo '%s %s (abc 2026-01-01)'", command, version)), file)
    Sys.chmod(file, "0755")
    file
  }
}

# What configure prints, and the line that it writes into Makevars. An error is text too.
configure <- function() {
  printed <- testthat::capture_messages(
    error <- tryCatch(source("tools/config.R", local = new.env()), error = conditionMessage)
  )
  line <- if (file.exists("src/Makevars")) {
    trimws(grep("build --release", readLines("src/Makevars"), value = TRUE))
  }
  list(printed = paste(printed, collapse = ""), error = if (is.character(error)) error, line = line)
}

test_that("the first cargo and rustc that are new enough are those that build", {
  put <- local_toolchains()
  put("cargo", "1.63.0", "old place")
  put("rustc", "1.63.0", "old place")
  cargo <- put("cargo", "1.99.0", ".cargo/bin")
  rustc <- put("rustc", "1.99.0", ".cargo/bin")
  done <- configure()
  expect_null(done$error)
  expect_match(done$line, sprintf("RUSTC='%s' '%s' build --release", rustc, cargo), fixed = TRUE)
  expect_identical(done$printed, sprintf("Using %s\nUsing %s\n", cargo, rustc))

  # What is on the PATH comes before it.
  cargo <- put("cargo", "1.85.0", "new")
  expect_match(configure()$line, sprintf("RUSTC='%s' '%s' build", rustc, cargo), fixed = TRUE)
  cargo <- put("cargo", "1.100.0", "old place")
  expect_match(configure()$line, sprintf("RUSTC='%s' '%s' build", rustc, cargo), fixed = TRUE)
})

test_that("a refusal names each that was judged, with its version", {
  put <- local_toolchains()
  old <- c(put("cargo", "1.84.9", "old place"), put("rustc", "1.99.0", "new"))
  broken <- put("cargo", "1.99.0", ".cargo/bin")
  writeLines(c("#!/bin/sh", "echo 'error: no default toolchain' >&2; exit 1"), broken)
  done <- configure()
  expect_match(done$error, "^entrar needs cargo and rustc >= [0-9.]+$")
  found <- c(
    sprintf("  %s: 1.84.9", old[[1]]),
    sprintf("  %s: does not tell its version", broken),
    sprintf("  %s: 1.99.0", old[[2]])
  )
  expect_match(done$printed, paste(found, collapse = "\n"), fixed = TRUE)
  expect_null(done$line)
})

test_that("a refusal says what is not there at all", {
  put <- local_toolchains()
  put("rustc", "1.99.0", "new")
  expect_match(
    configure()$printed,
    "Not found, on the PATH and in ~/.cargo/bin: cargo\n",
    fixed = TRUE
  )
})
