# Replies that are no token.

test_that("what is not the protocol's JSON is a bad reply, and is not shown", {
  expect_messages(failing_replies(
    "bad_reply",
    list(
      "a web page" = "<html>CANARY</html>",
      "truncated" = "{\"result\":true,\"token\":{\"access_token\":\"CANARY",
      "empty" = "",
      "deeply nested" = strrep("[", 5000),
      "an array" = "[\"CANARY\"]",
      "a string" = "\"CANARY\"",
      "token null" = "{\"result\":true,\"token\":null}",
      "token a string" = "{\"result\":true,\"token\":\"CANARY\"}",
      "a flat reply" = "{\"access_token\":\"CANARY\",\"expires_in\":1}",
      "no access_token" = "{\"token\":{\"token_type\":\"Bearer\"}}",
      "access_token empty" = "{\"token\":{\"access_token\":\"\"}}",
      "access_token a number" = "{\"token\":{\"access_token\":7}}",
      "access_token null" = "{\"token\":{\"access_token\":null}}",
      "access_token with a line break" = "{\"token\":{\"access_token\":\"CANARY\\nX: y\"}}",
      "negative lifetime" = "{\"token\":{\"access_token\":\"CANARY\",\"expires_in\":-1}}",
      "absurd lifetime" = "{\"token\":{\"access_token\":\"CANARY\",\"expires_in\":1e15}}",
      "lifetime in words" = "{\"token\":{\"access_token\":\"CANARY\",\"expires_in\":\"soon\"}}",
      "lifetime true" = "{\"token\":{\"access_token\":\"CANARY\",\"expires_in\":true}}",
      "expired in 1970" = "{\"token\":{\"access_token\":\"CANARY\",\"expires_on\":\"3599\"}}"
    ),
    http_status = NA_integer_,
    retryable = FALSE
  ))
})

test_that("a reply that is too large, compressed, cut off or no HTTP is a bad reply", {
  head <- function(...) paste0(paste(c("HTTP/1.1 200 OK", ..., "", ""), collapse = "\r\n"))
  large <- list(list("send", head("Content-Length: 2097152")), list("repeat", "CANARY  ", 262144))
  endless <- list(
    list("send", head("Transfer-Encoding: chunked")),
    list("repeat", "8\r\nCANARY  \r\n", 200000)
  )
  expect_messages(c(
    failure("2 MiB", "bad_reply", wire_address(large)),
    failure("2 MiB in chunks", "bad_reply", wire_address(endless)),
    failure(
      "compressed",
      "bad_reply",
      wire_address(list(reply("CANARY", headers = "Content-Encoding: gzip")))
    ),
    failure(
      "cut off",
      "bad_reply",
      wire_address(list(list("send", paste0(head("Content-Length: 99"), "{")), list("close")))
    ),
    failure("not HTTP", "bad_reply", wire_address(list(list("send", "220 CANARY ESMTP\r\n\r\n"))))
  ))
})

test_that("good replies of every known form are tokens", {
  for (body in c(
    "{\"result\":true,\"token\":{\"access_token\":\"CANARY\",\"expires_in\":3599}}",
    "{\"token\":{\"access_token\":\"CANARY\",\"expires_in\":\"3599\"}}",
    "{\"token\":{\"access_token\":\"CANARY\",\"expires_in\":3599.9,\"scope\":null,\"id_token\":null}}",
    "{\"error\":null,\"oauth2_error\":null,\"new\":[{}],\"token\":{\"access_token\":\"CANARY\",\"expires_in\":3599}}"
  )) {
    local_session(wire_address(list(reply(body))))
    token <- getDelegatedAzureToken(storage)
    expect_lt(abs(token$expires_at - as.numeric(Sys.time()) - 3599), 60)
  }
})

test_that("the five shapes of failure keep their innermost text", {
  nested <- paste0(
    "{\"error\":{\"code\":100,\"message\":\"Error occurred while executing method\",",
    "\"error\":{\"code\":71,\"category\":\"system\",",
    "\"message\":\"system error 71 (Protocol error) [description: Missing or invalid RPC parameters]\"},",
    "\"properties\":{\"description\":\"Missing or invalid RPC parameters\"}}}"
  )
  expect_messages(c(
    failing_replies(
      "server_error",
      list(
        "a text" = "{\"error\":\"no luck today\"}",
        "nested errors" = nested,
        "detail" = "{\"result\":false,\"detail\":\"delegated credentials are not set up\"}",
        "result false alone" = "{\"result\":false}",
        "error an empty object" = "{\"error\":{}}",
        "error a number" = "{\"error\":7}"
      )
    ),
    failing_replies(
      "bad_cookie",
      list(
        "code 3" = "{\"error\":{\"code\":3,\"message\":\"Unauthorized\",\"description\":\"No cookie\"}}"
      )
    ),
    failing_replies(
      "sign_in_required",
      list(
        "OAuth" = "{\"result\":false,\"oauth2_error\":{\"error\":\"invalid_grant\",\"error_description\":\"AADSTS700082: expired\"}}"
      ),
      oauth_error = "invalid_grant",
      aadsts = 700082L
    ),
    failing_replies(
      "access_denied",
      list("an OAuth name" = "{\"error\":\"access_denied\"}"),
      oauth_error = "access_denied"
    )
  ))
})

test_that("a hostile error text is shown harmlessly", {
  text <- function(text) sprintf("{\"error\":\"%s\"}", text)
  expect_messages(failing_replies(
    "server_error",
    list(
      "format strings" = text("100%s%n%d%%"),
      "quotes" = text("a \\\"b\\\" 'c' `d`"),
      "control characters" = text("a\\u0000b\\u0007c\\r\\nd\\te"),
      "terminal escapes" = text("\\u001b[31mred\\u001b[0m \\u009b1m"),
      "text direction" = text("abc\\u202edef"),
      "invalid UTF-8" = text("caf\u00e9 ok"),
      "our own cookie" = text(canary_cookie(expires = 4e9))
    ),
    cookie = canary_cookie(expires = 4e9)
  ))
  long <- list(
    list("send", "HTTP/1.1 200 OK\r\nContent-Length: 100012\r\n\r\n{\"error\":\""),
    list("repeat", "a", 100000),
    list("send", "\"}")
  )
  message <- failure("100 kB", "server_error", wire_address(long))
  expect_lt(sum(nchar(message)), 1500)
})
