# What Connect gives for a session token.
exchange <- function(token, type) {
  address <- paste0(Sys.getenv("CONNECT_SERVER"), "__api__/v1/oauth/integrations/credentials")
  request <- httr2::req_headers(
    httr2::request(address),
    Authorization = paste("Key", Sys.getenv("CONNECT_API_KEY"))
  )
  request <- httr2::req_body_form(
    request,
    grant_type = "urn:ietf:params:oauth:grant-type:token-exchange",
    subject_token_type = sprintf("urn:posit:connect:%s-session-token", type),
    subject_token = token
  )
  reply <- httr2::req_perform(httr2::req_error(request, is_error = function(reply) FALSE))
  list(status = httr2::resp_status(reply), body = httr2::resp_body_json(reply))
}

test_that("R is content, and its visitors are who they are", {
  skip_if_not_installed("httr2")
  local_session("http://127.0.0.1:1")
  azure <- local_emulated_azure(connect = list(viewer = "graph", path = "/connect"))
  expect_identical(Sys.getenv("POSIT_PRODUCT"), "CONNECT")
  expect_match(Sys.getenv("CONNECT_SERVER"), "^http://127\\.0\\.0\\.1:[0-9]+/connect/$")
  expect_identical(Sys.getenv("RS_SERVER_ADDRESS", NA), NA_character_)
  expect_named(azure, c("graph", "blob", "vault", "visitors", "request", "session"))
  expect_identical(azure$visitors, c("ada@example.com", "bob@example.com", "grace@partner.example"))
  for (who in list(c("ada@example.com", "Ada Example"), c("bob@example.com", "Bob Example"))) {
    for (request in list(azure$request(who[[1]]), azure$session(who[[1]])$request)) {
      reply <- exchange(visitor_token(request), "user")
      expect_identical(name_on_graph(azure, reply$body$access_token), who[[2]])
    }
  }
  expect_null(visitor_token(azure$request()))
  expect_null(visitor_token(azure$session()$request))
  expect_error(azure$session("eve@example.com"), "must be one of ada@example.com,")
})

test_that("the content has integrations of its own, or none", {
  skip_if_not_installed("httr2")
  local_session(NA)
  own <- function() {
    exchange(readLines(Sys.getenv("CONNECT_CONTENT_SESSION_TOKEN_FILE"), warn = FALSE), "content")
  }
  granted <- with_emulated_azure(
    list(own(), own()),
    connect = list(content = "storage", faults = "rotated")
  )
  expect_identical(vapply(granted, function(reply) reply$status, 0L), c(200L, 200L))
  refused <- with_emulated_azure(
    own(),
    connect = list(viewer = character(), faults = "old_errors")
  )
  expect_identical(refused$status, 400L)
  expect_identical(refused$body$error_code, 212L)
})

test_that("a session ends once, and tells who has asked to be told", {
  local_session(NA)
  azure <- local_emulated_azure(connect = TRUE)
  session <- azure$session("ada@example.com")
  expect_s3_class(session, "ShinySession")
  ended <- character()
  session$onSessionEnded(function() ended <<- c(ended, "first"))
  forget <- session$onEnded(function() ended <<- c(ended, "never"))
  session$onSessionEnded(function() ended <<- c(ended, "second"))
  forget()
  expect_false(session$isClosed())
  session$close()
  session$close()
  expect_identical(ended, c("first", "second"))
  expect_true(session$isEnded())
  expect_false(azure$session("ada@example.com")$isEnded())
  expect_false(identical(azure$session("ada@example.com")$token, session$token))
})

test_that("no session token and no key is shown, and nothing is left", {
  local_session(NA, NA)
  before <- Sys.getenv()
  shown <- function() {
    azure <- local_emulated_azure(connect = TRUE)
    request <- azure$request("ada@example.com")
    session <- azure$session("ada@example.com")
    list(
      printed = capture.output(
        print(azure),
        str(azure),
        print(request),
        str(request),
        print(session),
        str(session)
      ),
      file = Sys.getenv("CONNECT_CONTENT_SESSION_TOKEN_FILE"),
      pid = emulated_pid()
    )
  }
  seen <- shown()
  expect_false(any(grepl("canary", seen$printed)))
  expect_environment(before)
  expect_false(dir.exists(dirname(seen$file)))
  expect_false(tools::pskill(seen$pid, 0))
})

test_that("what cannot be emulated is said before anything starts", {
  local_session(NA)
  for (connect in list(NA, "graph", list("graph"), list(viewers = "graph"), list(viewer = NA))) {
    expect_error(local_emulated_azure(connect = connect), "`connect` must be")
  }
  expect_error(local_emulated_azure(connect = list(faults = "slow")), "must be among key_expired,")
  expect_error(
    local_emulated_azure(connect = list(viewer = "")),
    class = "entrar_error_bad_resource"
  )
})
