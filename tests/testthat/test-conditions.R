test_that("each kind has a remedy of its own", {
  local_session(NA, NA)
  remedies <- vapply(failure_kinds(), usual_remedy, "")
  expect_match(remedies, "^[A-Z].*\\.$")
  expect_false(anyDuplicated(remedies) > 0)
})

test_that("what to do depends on who has opened the session", {
  remedies <- function(...) {
    local_session("http://127.0.0.1:1", NA, ...)
    vapply(failure_kinds(), usual_remedy, "")
  }
  sign_in <- function(...) remedies(...)[["sign_in_required"]]
  expect_identical(sign_in(), "Sign out of Posit Workbench and sign in again.")
  expect_identical(sign_in(ENTRAR_ORIGIN = "agent"), "Sign in again with azure_sign_in().")
  for (origin in c("agent", "hub")) {
    expect_false(any(grepl("Posit Workbench", remedies(ENTRAR_ORIGIN = origin))))
  }
})

test_that("the help page has a heading for each kind, and no other for a kind", {
  help <- tools::Rd_db("entrar")[["entrar-errors.Rd"]]
  sections <- Filter(function(part) attr(part, "Rd_tag") == "\\section", help)
  headings <- vapply(sections, function(part) trimws(paste(unlist(part[[1]]), collapse = "")), "")
  expect_identical(headings, failure_kinds())
})

test_that("the vignette on troubleshooting has a heading for each kind, in their order", {
  # Beside the sources, or as it was installed from a built package.
  places <- c(
    test_path("..", "..", "vignettes", "troubleshooting.Rmd"),
    system.file("doc", "troubleshooting.Rmd", package = "entrar")
  )
  place <- places[file.exists(places)]
  skip_if(length(place) == 0, "the vignettes are not there")
  headings <- grep("^## ", readLines(place[[1]]), value = TRUE)
  expect_identical(sub("^## ", "", headings), failure_kinds())
})

test_that("a message ends in a place to read on that is there", {
  local_session(NA)
  error <- tryCatch(getDelegatedAzureToken(storage), error = identity)
  has_vignette <- file.exists(file.path(find.package("entrar"), "doc", "troubleshooting.html"))
  expect_match(
    conditionMessage(error),
    if (has_vignette) "heading \"no_session\"\\.$" else "in \\?entrar::`entrar-errors`\\.$"
  )
  expect_identical(
    where_to_read("timeout", TRUE),
    "See vignette(\"troubleshooting\", \"entrar\"), heading \"timeout\"."
  )
  expect_identical(where_to_read("timeout", FALSE), "See `timeout` in ?entrar::`entrar-errors`.")
})

test_that("a condition has every field, absent ones typed", {
  local_session(NA)
  error <- tryCatch(getDelegatedAzureToken("https://vault.azure.net"), error = identity)
  expect_s3_class(
    error,
    c("entrar_error_no_session", "entrar_error", "error", "condition"),
    exact = TRUE
  )
  expect_identical(error$kind, "no_session")
  expect_identical(error$resource, "https://vault.azure.net")
  for (field in c("oauth_error", "suberror", "claims", "correlation_id", "trace_id")) {
    expect_identical(error[[field]], NA_character_)
  }
  expect_identical(error$aadsts, integer())
  expect_identical(error$http_status, NA_integer_)
  expect_identical(error$retry_after, NA_real_)
  expect_false(error$retryable)
})

test_that("a program can ask the condition what to do", {
  local_session("http://127.0.0.1:1")
  outcome <- tryCatch(
    getDelegatedAzureToken("https://vault.azure.net"),
    entrar_error_no_session = function(e) "no session",
    entrar_error = function(e) e$retryable
  )
  expect_true(outcome)

  # What no waiting cures must not end in a loop.
  local_session("ftp://server")
  error <- expect_error(getDelegatedAzureToken(storage), class = "entrar_error_unreachable")
  expect_false(error$retryable)
})
