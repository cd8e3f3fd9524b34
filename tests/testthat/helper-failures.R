# One row of a table of failures: what is asked, and what must come of it.

storage <- "https://storage.azure.com"

# Asks for a token that is not granted; checks class, fields, that no deadline was waited for (30 seconds, where a test
# sets no other), and that nothing secret shows.
# Returns the message for a snapshot, without what differs from run to run.
failure <- function(
  label,
  kind,
  address,
  ...,
  env = character(),
  cookie = canary_cookie(),
  resource = storage,
  within = 25
) {
  local_session(address, cookie, env)
  started <- Sys.time()
  printed <- capture.output(
    error <- tryCatch(suppressWarnings(getDelegatedAzureToken(resource)), error = identity),
    type = "message"
  )
  seconds <- as.numeric(Sys.time() - started, units = "secs")

  expect_s3_class(
    error,
    c(paste0("entrar_error_", kind), "entrar_error", "error", "condition"),
    exact = TRUE
  )
  expect_identical(error$kind, kind, label = label)
  expected <- list(...)
  for (field in names(expected)) {
    expect_identical(error[[field]], expected[[field]], label = paste0(label, ": ", field))
  }
  expect_lt(seconds, within)
  shown <- c(
    printed,
    conditionMessage(error),
    capture.output(print(error), str(error), dput(unclass(error)[-2]))
  )
  expect_false(any(grepl(canary, shown)), label = paste0(label, ": a secret was shown"))
  c(paste0("# ", label), without_addresses(conditionMessage(error)), "")
}

# A snapshot of the messages alone: the code that makes them holds canaries.
expect_messages <- function(messages) {
  force(messages)
  expect_snapshot(writeLines(messages))
}

without_addresses <- function(text) {
  text <- gsub("(127\\.0\\.0\\.1|localhost|\\[::1\\]):[0-9]+", "SERVER", text)
  text <- gsub("(SERVER|server\\.invalid)/[A-Za-z0-9_-]{16,}", "\\1", text)
  gsub("/[^ ]*/(rpc_cookie|ca\\.pem|[a-z-]+\\.pem)", "DIRECTORY/\\1", text)
}

# The same for failures that a reply's body makes, by label.
failing_replies <- function(kind, bodies, ...) {
  unlist(lapply(names(bodies), function(label) {
    failure(label, kind, wire_address(list(reply(bodies[[label]]))), ...)
  }))
}
