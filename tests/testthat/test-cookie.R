# The session's cookie: where it is read, which is sent, what is said of it.

local_cookie_file <- function(text, frame = parent.frame()) {
  directory <- withr::local_tempdir(.local_envir = frame)
  if (!is.null(text)) {
    writeLines(text, file.path(directory, "rpc_cookie"), sep = "")
  }
  directory
}

sent_cookies <- function(address) {
  vapply(requests_at(address), function(r) r$headers[["x-rs-session-server-rpc-cookie"]], "")
}

test_that("without a cookie that can be sent, the places are named and no value is", {
  absent <- local_cookie_file(NULL)
  empty <- local_cookie_file("\n")
  expired <- local_cookie_file(canary_cookie(expires = Sys.time() - 60))
  blocked <- local_cookie_file(NULL)
  dir.create(file.path(blocked, "rpc_cookie"))
  ask <- function(label, directory, cookie = NA) {
    address <- wire_address(list(token_reply()))
    shown <- failure(
      label,
      "bad_cookie",
      address,
      cookie = cookie,
      env = c(PWB_SESSION_RUNTIME_DIR = directory)
    )
    expect_length(requests_at(address), 0)
    shown
  }
  expect_messages(c(
    ask("missing", NA),
    ask("no file", absent),
    ask("empty", empty),
    ask("a directory in its place", blocked),
    ask("expired", expired),
    ask("both expired", expired, canary_cookie(expires = Sys.time() - 60)),
    ask("not to be sent in a header", NA, "CANARY\ttab")
  ))
})

test_that("a cookie is sent unchanged, whatever its form", {
  for (cookie in c("alice|CANARY", "alice|garbage|CANARY", "CANARY", canary_cookie())) {
    address <- wire_address(list(token_reply()))
    local_session(address, cookie)
    getDelegatedAzureToken(storage)
    expect_true(identical(sent_cookies(address), cookie))
  }
})

test_that("of file and variable the one that expires later is sent", {
  sooner <- canary_cookie("sooner", Sys.time() + 60)
  later <- canary_cookie("later", Sys.time() + 3600)
  for (pair in list(c(sooner, later), c(later, sooner), c("u|garbage|CANARY", later))) {
    address <- wire_address(list(token_reply()))
    local_session(address, pair[[2]], PWB_SESSION_RUNTIME_DIR = local_cookie_file(pair[[1]]))
    getDelegatedAzureToken(storage)
    expect_true(identical(sent_cookies(address), later))
  }
})

test_that("a cookie that was rotated in the file meanwhile is read again", {
  old <- canary_cookie("old", Sys.time() + 60)
  new <- canary_cookie("new", Sys.time() + 3600)
  directory <- local_cookie_file(old)
  rotate <- list(
    "rename",
    file.path(local_cookie_file(new), "rpc_cookie"),
    file.path(directory, "rpc_cookie")
  )
  refusal <- list(rotate, reply(status = "401 Unauthorized"))
  address <- wire_address(refusal, list(token_reply()))
  local_session(address, NA, PWB_SESSION_RUNTIME_DIR = directory)
  getDelegatedAzureToken(storage)
  expect_true(identical(sent_cookies(address), c(old, new)))
})

test_that("when the later of two cookies is refused, the other gets its chance", {
  sooner <- canary_cookie("sooner", Sys.time() + 60)
  later <- canary_cookie("later", Sys.time() + 3600)
  address <- wire_address(list(reply(status = "403 Forbidden")), list(token_reply()))
  local_session(address, later, PWB_SESSION_RUNTIME_DIR = local_cookie_file(sooner))
  getDelegatedAzureToken(storage)
  expect_true(identical(sent_cookies(address), c(later, sooner)))
})

test_that("a refused cookie is not sent again if there is no other", {
  cookie <- canary_cookie()
  address <- wire_address(list(reply(status = "401 Unauthorized")))
  failure("refused", "bad_cookie", address, cookie = cookie)
  expect_length(requests_at(address), 1)
  # The file holds the same one.
  address <- wire_address(list(reply(status = "401 Unauthorized")))
  directory <- local_cookie_file(cookie)
  failure(
    "both refused",
    "bad_cookie",
    address,
    cookie = cookie,
    env = c(PWB_SESSION_RUNTIME_DIR = directory)
  )
  expect_length(requests_at(address), 1)
})
