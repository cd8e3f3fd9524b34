test_that("no way of showing a token shows its secrets", {
  fields <- list(
    access_token = canary,
    token_type = "Bearer",
    scope = "https://storage.azure.com/user_impersonation",
    expires_at = 1795395599,
    id_token = canary
  )
  token <- new_token(fields, "https://storage.azure.com", 0)
  shown <- c(
    format(token),
    capture.output(print(token)),
    capture.output(str(token)),
    capture.output(str(list(inner = token))),
    capture.output(print(list(inner = token))),
    capture.output(token),
    capture.output(print(token[c("access_token", "expires_at")])),
    capture.output(str(token["access_token"])),
    capture.output(print(c(token, list(more = 1)))),
    capture.output(str(c(token, more = 1)))
  )
  expect_false(any(grepl(canary, shown)))
  expect_true(all(
    c("print", "str", "format") %in% sub("\\..*", "", methods(class = "entrar_token"))
  ))
})

test_that("a token that another R process reads does not show its secrets there", {
  token <- new_token(list(access_token = canary), "r", 0)
  headers <- c(structure(list(Authorization = paste("Bearer", canary)), class = "entrar_headers"))
  file <- withr::local_tempfile()
  saveRDS(list(token, headers), file)
  code <- sprintf("print(readRDS('%s'))", file)
  output <- run_program(c(file.path(R.home("bin"), "Rscript"), "--vanilla", "-e", code))$output
  expect_true("access_token: <REDACTED>" %in% output)
  expect_true("Authorization: Bearer <REDACTED>" %in% output)
  expect_false(any(grepl(canary, output)))
})

test_that("more fields are added, and an expiry may be a date", {
  token <- new_token(list(access_token = canary, expires_at = 1795395599), "r", 0)
  expect_identical(c(token, list(more = 1), last = 2)$last, 2)
  expect_identical(attr(c(token, list(more = 1)), "resource"), "r")
  other <- structure(new.env(), class = "other")
  expect_identical(c(token, other = other)$other, other)
  expect_s3_class(other, "other")
  token$expires_at <- as.POSIXct(token$expires_at, origin = "1970-01-01")
  expect_match(format(token), "^expires: +2026-", all = FALSE)
})

test_that("a field is taken by its whole name", {
  token <- new_token(list(access_token = canary, token_type = "Bearer"), "r", 0)
  expect_identical(token$token_type, "Bearer")
  expect_null(token$token)
  expect_null(token[["token"]])
})

test_that("printing shows resource and expiry", {
  withr::local_timezone("UTC")
  token <- new_token(
    list(
      access_token = canary,
      token_type = "Bearer",
      scope = NA_character_,
      expires_at = 1600000000
    ),
    "https://storage.azure.com",
    0
  )
  expect_snapshot(print(token))
  expect_snapshot(str(token))
  token$expires_at <- NA_real_
  expect_snapshot(print(token))
})

test_that("the minutes left are counted from now", {
  expect_match(format_expiry(as.numeric(Sys.time()) + 600), "in 10 minutes", fixed = TRUE)
})
