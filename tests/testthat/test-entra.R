# What Entra ID reports, as Workbench passes it on.

refusal <- function(...) {
  oauth <- jsonlite::toJSON(list(...), auto_unbox = TRUE)
  wire_address(list(reply(sprintf("{\"result\":false,\"oauth2_error\":%s}", oauth))))
}

# Source: Microsoft Entra authentication and authorization error codes.
codes <- list(
  sign_in_required = c(
    c(700082L, 70008L, 70043L, 50173L, 50076L, 50079L, 50074L, 50078L, 50058L),
    c(50132L, 50055L, 50158L, 500133L, 50199L, 530036L)
  ),
  consent_required = c(65001L, 650056L, 650057L, 90094L, 65004L),
  access_denied = c(
    c(53000L, 53003L, 530032L, 53001L, 530035L, 530003L, 530034L, 53011L),
    c(50105L, 50020L, 90072L, 50057L)
  ),
  bad_resource = c(500011L, 70011L, 28002L, 700022L, 90009L, 650052L, 500014L),
  misconfigured = c(
    c(7000215L, 7000222L, 700016L, 90002L, 90019L, 50011L, 7000218L),
    c(65002L, 700025L, 700027L, 700213L, 50194L)
  ),
  throttled = 50196L,
  unavailable = c(90055L, 90006L, 90024L, 50033L, 90033L),
  server_error = 54005L
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

test_that("whoever may not have a token is not sent to sign in again", {
  for (code in codes$access_denied) {
    local_session(refusal(error = "invalid_grant", error_codes = I(code)))
    error <- tryCatch(getDelegatedAzureToken(storage), error = identity)
    expect_no_match(conditionMessage(error), "[Ss]ign (in|out)")
  }
})

test_that("some codes have advice of their own", {
  advice <- function(code, ...) {
    address <- refusal(error = "invalid_grant", error_codes = I(code))
    failure(as.character(code), names(Filter(function(of) code %in% of, codes)), address, ...)
  }
  expect_messages(c(
    unlist(lapply(c(50020L, 50055L, 50057L, 50105L, 53000L, 65004L, 530036L, 650052L), advice)),
    advice(500014L, resource = "api://my-app")
  ))
})

test_that("a long wait is told in hours, and nothing says that minutes will do", {
  busy <- reply(status = "503 Service Unavailable", headers = "Retry-After: 86400")
  expect_messages(failure("a day", "unavailable", wire_address(list(busy)), retry_after = 86400))
})
