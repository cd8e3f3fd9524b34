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

# What is shown of a token beside that which is shown of any.
told_by <- function(access_token, resource = storage) {
  lines <- format(new_token(list(access_token = access_token), resource, 0))
  lines <- grep("^(<entrar_token>|resource:|access_token:)", lines, value = TRUE, invert = TRUE)
  sub(": +", ": ", lines)
}

test_that("printing shows whose token it is, of which tenant, and for whom if that is not what was asked", {
  expect_identical(told_by(ada()), c("account: ada@example.com", "tenant: tenant-1"))
  expect_identical(told_by(ada(), "https://storage.azure.com/"), told_by(ada()))
  expect_identical(
    told_by(ada(aud = "00000003-0000-0000-c000-000000000000"), "https://graph.microsoft.com"),
    c(
      "account: ada@example.com",
      "tenant: tenant-1",
      "audience: 00000003-0000-0000-c000-000000000000"
    )
  )
})

test_that("the account is the name that the token has first", {
  expect_identical(
    told_by(web_token(preferred_username = "c", unique_name = "b", upn = "a")),
    "account: a"
  )
  expect_identical(told_by(web_token(preferred_username = "c", unique_name = "b")), "account: b")
  expect_identical(told_by(web_token(preferred_username = "c")), "account: c")
})

test_that("a token that tells nothing of itself, or nothing fit to be read, is shown as it was", {
  for (token in list(canary, web_token(), web_token(upn = 7, tid = "", aud = list("a", "b")))) {
    expect_identical(told_by(token), character())
  }
  expect_identical(told_by(web_token(upn = "a\nb", tid = "\u001b[31m")), character())
  expect_identical(told_by(NULL), character())
  expect_identical(told_by(1), character())
  expect_identical(told_by(NA_character_), character())
})

test_that("what a token tells of itself cannot make a line read as something else", {
  hidden <- c("\u202e", "\u2066", "\u200b", "\u061c", "\u2028", "\ufeff")
  name <- paste0("a", paste(hidden, collapse = ""), "\u00e9")
  expect_identical(told_by(web_token(upn = name, tid = hidden[1])), "account: a\u00e9")
  expect_identical(
    told_by(web_token(tid = strrep("x", 1e5))),
    paste0("tenant: ", strrep("x", 100), "...")
  )
})
