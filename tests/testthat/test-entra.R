# What Entra ID reports, as Workbench passes it on.

refusal <- function(...) {
  oauth <- jsonlite::toJSON(list(...), auto_unbox = TRUE)
  wire_address(list(reply(sprintf("{\"result\":false,\"oauth2_error\":%s}", oauth))))
}

# Source: Microsoft Entra authentication and authorization error codes.
codes <- list(
  sign_in_required = c(700082L, 70008L, 70043L, 50173L, 50076L, 50079L, 50074L, 50078L, 50058L),
  consent_required = c(65001L, 650056L, 650057L),
  access_denied = c(53000L, 53003L, 530032L),
  bad_resource = c(500011L, 70011L, 28002L, 700022L, 90009L),
  misconfigured = c(7000215L, 7000222L, 700016L, 90002L),
  throttled = 50196L,
  unavailable = c(90055L, 90006L, 90024L, 50033L, 90033L)
)

test_that("every code of the table has its kind, and is asked once", {
  for (kind in names(codes)) {
    for (code in codes[[kind]]) {
      described <- refusal(
        error = "invalid_grant",
        error_description = sprintf("AADSTS%d: text.", code)
      )
      failure(
        paste(code, "described"),
        kind,
        described,
        aadsts = code,
        oauth_error = "invalid_grant"
      )
      expect_length(requests_at(described), 1)
      listed <- refusal(error = "unknown_error", error_codes = I(code))
      failure(paste(code, "listed"), kind, listed, aadsts = code)
      # A suberror that says nothing of itself leaves it to the code; of several codes the known one counts.
      several <- refusal(
        error = "invalid_grant",
        suberror = "message_only",
        error_codes = c(1L, code)
      )
      failure(
        paste(code, "with others"),
        kind,
        several,
        aadsts = c(1L, code),
        suberror = "message_only"
      )
      # One that is unmistakable beats the code.
      beaten <- refusal(
        error = "invalid_grant",
        suberror = "consent_required",
        error_codes = I(code)
      )
      failure(paste(code, "and consent"), "consent_required", beaten, aadsts = code)
    }
  }
})

test_that("each kind has its message", {
  description <- function(code) {
    sprintf(
      "AADSTS%d: Words.\r\nTrace ID: t-1\r\nCorrelation ID: c-2\r\nTimestamp: 2026-11-23 00:00:00Z",
      code
    )
  }
  expect_messages(unlist(lapply(names(codes), function(kind) {
    code <- codes[[kind]][[1]]
    address <- refusal(
      error = "invalid_grant",
      error_description = description(code),
      error_codes = I(code)
    )
    failure(
      paste(kind, code),
      kind,
      address,
      trace_id = "t-1",
      correlation_id = "c-2",
      aadsts = code
    )
  })))
})

test_that("suberror, several codes, no code, claims and a wait are understood", {
  expect_messages(c(
    failure(
      "suberror",
      "consent_required",
      refusal(error = "invalid_grant", suberror = "consent_required"),
      suberror = "consent_required",
      aadsts = integer()
    ),
    failure(
      "several codes",
      "access_denied",
      refusal(error = "invalid_grant", error_codes = c(1L, 53003L, 50076L)),
      aadsts = c(1L, 53003L, 50076L)
    ),
    failure(
      "no code",
      "sign_in_required",
      refusal(error = "interaction_required"),
      oauth_error = "interaction_required"
    ),
    failure(
      "claims",
      "sign_in_required",
      refusal(
        error = "interaction_required",
        claims = "{\"access_token\":{}}",
        error_codes = I(50076L)
      ),
      claims = "{\"access_token\":{}}"
    ),
    failure(
      "a wait",
      "throttled",
      refusal(error = "invalid_grant", retry_after = 17),
      retry_after = 17,
      retryable = TRUE
    ),
    failure("an unknown error", "server_error", refusal(error = "brand_new"), retryable = FALSE)
  ))
})

test_that("a misspelt resource gets a likely spelling", {
  expect_messages(failure(
    "misspelt",
    "bad_resource",
    refusal(error = "invalid_resource", error_codes = I(500011L)),
    resource = "https://storage.azure.net"
  ))
})

test_that("a scope in the place of a resource gets a hint", {
  expect_messages(c(
    failure(
      "a scope",
      "bad_resource",
      "http://127.0.0.1:1",
      resource = "https://graph.microsoft.com/.default"
    ),
    failure(
      "white space",
      "bad_resource",
      "http://127.0.0.1:1",
      resource = " https://vault.azure.net\n"
    ),
    failure("two in one", "bad_resource", "http://127.0.0.1:1", resource = "https://a https://b")
  ))
})
