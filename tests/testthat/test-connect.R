# Content on an emulated Posit Connect: whose token it is, which integration serves, and what is said where there is none.

ada <- "ada@example.com"
bob <- "bob@example.com"

kind_of <- function(code) tryCatch(code, entrar_error = function(e) e$kind)

# As Shiny does it while a session's code runs.
in_session <- function(session, code) {
  skip_if_not_installed("shiny")
  shiny::withReactiveDomain(session, code)
}

test_that("each visitor gets their own token, which is kept for their session", {
  local_session(NA)
  azure <- local_emulated_azure(connect = list(viewer = "graph"))
  sessions <- list(azure$session(ada), azure$session(bob), azure$session(ada))
  tokens <- lapply(sessions, function(session) azure_token("graph", session = session))
  names <- vapply(tokens, name_on_graph, "", azure = azure)
  expect_identical(names, c("Ada Example", "Bob Example", "Ada Example"))
  again <- lapply(sessions, function(session) azure_token("graph", session = session))
  expect_identical(again, tokens)
  expect_identical(anyDuplicated(tokens), 0L)
  by_domain <- in_session(sessions[[2]], azure_token("graph"))
  expect_identical(by_domain, tokens[[2]])
  # A module's session is a part of its visitor's.
  module <- list2env(list(rootScope = function() sessions[[2]]))
  expect_identical(in_session(module, azure_token("graph")), tokens[[2]])
  headers <- in_session(sessions[[1]], azure_headers("graph"))
  expect_identical(headers$Authorization, paste("Bearer", tokens[[1]]))
})

test_that("without a visitor there is none, and the content's own token only in so many words", {
  local_session(NA)
  azure <- local_emulated_azure(connect = list(viewer = "graph", content = "storage"))
  expect_identical(kind_of(azure_token("graph")), "no_session")
  expect_identical(kind_of(azure_token("storage", identity = "viewer")), "no_session")
  expect_snapshot(getDelegatedAzureToken("graph"), error = TRUE)
  expect_identical(kind_of(azure_token("graph", session = azure$session())), "sign_in_required")
  # What is no session token is nobody's, and least of all the content's.
  for (token in list("", NA_character_, "\xff", "two words", c("a", "b"), 1)) {
    request <- list2env(list(HTTP_POSIT_CONNECT_USER_SESSION_TOKEN = token))
    expect_identical(kind_of(azure_token("storage", session = request)), "sign_in_required")
  }
  own <- getDelegatedAzureToken("storage", identity = "content")
  expect_match(format(own), "^identity: +content$", all = FALSE)
  expect_match(format(own["access_token"]), "^identity: +content$", all = FALSE)
  viewers <- getDelegatedAzureToken("graph", session = azure$session(ada))
  expect_match(format(viewers), "^identity: +viewer$", all = FALSE)
  withr::local_options(entrar.connect_identity = "content")
  expect_type(azure_token("storage"), "character")
  # The option does not count where there is a visitor, or was to be one.
  expect_identical(kind_of(azure_token("storage", session = NULL)), "no_session")
  expect_identical(kind_of(azure_headers("storage", session = NULL)), "no_session")
  expect_s3_class(azure_headers("storage"), "entrar_headers")
  expect_identical(kind_of(azure_token("storage", session = azure$session())), "sign_in_required")
  expect_error(azure_token("storage", identity = "nobody"), "must be \"viewer\"")
})

test_that("what was made for one visitor is an error for another, and after they have left", {
  skip_if_not_installed("R6")
  local_session(NA)
  azure <- local_emulated_azure(connect = list(viewer = "graph"))
  first <- azure$session(ada)
  other <- azure$session(bob)
  token <- in_session(first, getDelegatedAzureToken("graph", as = "AzureToken"))
  expect_identical(name_on_graph(azure, token$credentials$access_token), "Ada Example")
  expect_identical(kind_of(in_session(other, token$refresh())), "no_session")
  expect_identical(kind_of(in_session(other, azure_token("graph", session = first))), "no_session")
  token$refresh()
  expect_identical(name_on_graph(azure, token$credentials$access_token), "Ada Example")
  expect_true(token$validate())
  expect_identical(kind_of(in_session(other, token$validate())), "no_session")
  saved <- serialize(token, NULL)
  # A copy is nobody's, in the same process too.
  expect_identical(kind_of(unserialize(saved)$refresh()), "no_session")
  expect_identical(
    name_on_graph(azure, token$clone()$refresh()$credentials$access_token),
    "Ada Example"
  )
  expect_false(grepl(
    visitor_token(first$request),
    rawToChar(saved[saved != 0]),
    fixed = TRUE,
    useBytes = TRUE
  ))
  first$close()
  expect_identical(kind_of(token$refresh()), "no_session")
  expect_identical(kind_of(token$validate()), "no_session")
  expect_identical(kind_of(azure_token("graph", session = first)), "no_session")
  expect_identical(name_on_graph(azure, azure_token("graph", session = other)), "Bob Example")
})

test_that("no kept token is handed out by the name that it is kept under", {
  local_session(NA)
  azure <- local_emulated_azure(connect = list(viewer = "graph", content = "graph"))
  session <- azure$session(ada)
  azure_token("graph", identity = "content")
  azure_token("graph", session = session)
  for (id in c("content", token_subject(session, NULL, "graph", NULL)$id)) {
    name <- paste0(id, "\rhttps://graph.microsoft.com")
    expect_identical(kind_of(azure_token(name)), "bad_resource")
    expect_identical(kind_of(azure_token(name, session = session)), "bad_resource")
  }
})

test_that("an object says whose it is, and a login is not saved", {
  skip_if_not_installed("R6")
  local_session(NA)
  azure <- local_emulated_azure(connect = list(viewer = "graph", content = "storage"))
  directory <- withr::local_tempdir()
  withr::local_envvar(R_AZURE_DATA_DIR = directory)
  own <- getDelegatedAzureToken("storage", as = "AzureToken", identity = "content")
  own$cache()
  expect_identical(dir(directory), character())
  shown <- capture.output(print(own))
  expect_match(shown[[1]], "of the content's own")
  expect_match(shown, "identity: +content$", all = FALSE)
  viewers <- in_session(azure$session(ada), getDelegatedAzureToken("graph", as = "AzureToken"))
  expect_match(capture.output(print(viewers)), "identity: +viewer$", all = FALSE)
})

test_that("a session's own request stands for the session, and another's for nobody", {
  skip_if_not_installed("R6")
  local_session(NA)
  azure <- local_emulated_azure(connect = list(viewer = "graph"))
  first <- azure$session(ada)
  other <- azure$session(bob)
  token <- in_session(
    first,
    getDelegatedAzureToken("graph", as = "AzureToken", session = first$request)
  )
  expect_identical(name_on_graph(azure, token$credentials$access_token), "Ada Example")
  by_request <- function() azure_token("graph", session = first$request)
  expect_identical(kind_of(in_session(other, by_request())), "no_session")
  expect_identical(kind_of(in_session(other, token$refresh())), "no_session")
  first$close()
  expect_identical(kind_of(token$refresh()), "no_session")
})

test_that("the content is not meant by an app that is only being read", {
  skip_if_not_installed("shiny")
  local_session(NA)
  local_emulated_azure(connect = list(content = "storage"))
  withr::local_options(entrar.connect_identity = "content")
  app <- withr::local_tempdir()
  writeLines(
    "stop(tryCatch(entrar::azure_token('storage'), error = conditionMessage))",
    file.path(app, "app.R")
  )
  expect_error(shiny::runApp(app, launch.browser = FALSE), "there is no visitor here")
})

test_that("no condition holds a session", {
  local_session(NA)
  azure <- local_emulated_azure(connect = list(viewer = "graph", faults = "visitor_refused"))
  session <- azure$session(ada)
  secret <- visitor_token(session$request)
  conditions <- list(
    tryCatch(azure_token("graph", session = session), error = identity),
    tryCatch(do.call("azure_token", list("graph", session = session)), error = identity),
    tryCatch(do.call("getDelegatedAzureToken", list("", session = session)), error = identity)
  )
  for (condition in conditions) {
    expect_s3_class(condition, "entrar_error")
    held <- serialize(condition, NULL)
    held <- rawToChar(held[held != 0])
    expect_false(grepl(secret, held, fixed = TRUE, useBytes = TRUE))
  }
  expect_identical(conditionCall(conditions[[1]]), quote(azure_token("graph")))
  # Of arguments that are passed on there is no more to see.
  passed_on <- function(...) azure_token("graph", ...)
  said <- tryCatch(passed_on(session = session), error = identity)
  expect_identical(conditionCall(said), quote(azure_token("graph")))
})

test_that("a request of httr2 stays its visitor's", {
  skip_if_not_installed("httr2")
  local_session(NA)
  azure <- local_emulated_azure(connect = list(viewer = "graph"))
  session <- azure$session(ada)
  request <- req_auth_azure(
    httr2::request(paste0(azure$graph, "/v1.0/me")),
    "graph",
    session = session
  )
  name <- function() httr2::resp_body_json(httr2::req_perform(request))$displayName
  expect_identical(name(), "Ada Example")
  expect_error(in_session(azure$session(bob), name()), "another visitor")
  # The visitor of when it is made, not of when it is performed.
  request <- in_session(
    session,
    req_auth_azure(httr2::request(paste0(azure$graph, "/v1.0/me")), "graph")
  )
  expect_error(in_session(azure$session(bob), name()), "another visitor")
  expect_identical(name(), "Ada Example")
  session$close()
  expect_error(name(), "has ended")
})

test_that("nothing is kept for a request of plumber, and each is its own visitor's", {
  local_session(NA)
  azure <- local_emulated_azure(connect = list(viewer = "graph"))
  request <- azure$request(bob)
  tokens <- c(azure_token("graph", session = request), azure_token("graph", session = request))
  expect_identical(anyDuplicated(tokens), 0L)
  expect_identical(name_on_graph(azure, tokens[[1]]), "Bob Example")
  expect_identical(kind_of(azure_token("graph", session = azure$request())), "sign_in_required")
  expect_error(azure_token("graph", session = "bob"), "must be the session")
})

test_that("nothing else is an origin on Connect", {
  local_session("http://127.0.0.1:1", POSIT_PRODUCT = "CONNECT")
  withr::local_envvar(CONNECT_SERVER = NA, CONNECT_API_KEY = NA)
  expect_identical(kind_of(azure_token("graph")), "no_session")
  expect_error(azure_token("graph", identity = "content"), "CONNECT_SERVER is not set")
  expect_false(has_azure_session())
})

test_that("a live agent and a live hub are not asked on Connect, nor is what they gave handed out", {
  skip_on_os("windows")
  socket <- local_hub()
  start_agent(local_agents_directory())
  withr::local_envvar(ENTRAR_HUB_SOCKET = socket)
  expect_match(azure_token("graph"), "^CANARY-")
  withr::local_envvar(
    POSIT_PRODUCT = "CONNECT",
    CONNECT_SERVER = "http://127.0.0.1:1",
    CONNECT_API_KEY = "canary-key",
    CONNECT_CONTENT_GUID = "11111111-2222-3333-4444-555555555555",
    CONNECT_CONTENT_SESSION_TOKEN = "canary-token"
  )
  expect_identical(kind_of(azure_token("graph")), "no_session")
  expect_identical(kind_of(getDelegatedAzureToken("graph")), "no_session")
  expect_identical(kind_of(azure_token("graph", identity = "content")), "unreachable")
  expect_identical(kind_of(azure_sign_in()), "no_session")
})

test_that("which integration serves is found, or said", {
  local_session(NA)
  kind <- function(resource, ...) {
    azure <- local_emulated_azure(connect = list(...))
    kind_of(nchar(azure_token(resource, session = azure$session(ada))) > 0)
  }
  expect_true(kind("storage", viewer = c("graph", "storage")))
  expect_identical(kind("key_vault", viewer = c("graph", "storage")), "consent_required")
  expect_identical(kind("storage", viewer = "graph"), "consent_required")
  expect_identical(kind("storage", content = "storage"), "consent_required")
  expect_identical(kind("storage", viewer = character()), "consent_required")
  expect_true(kind("storage", viewer = "storage", faults = "listing_refused"))
  several <- list(viewer = c("storage", "key_vault"), faults = "scopes_refused")
  azure <- local_emulated_azure(connect = several)
  session <- azure$session(ada)
  said <- conditionMessage(tryCatch(azure_token("storage", session = session), error = identity))
  expect_match(said, "options(entrar.connect_integrations = c(\"storage\" = ", fixed = TRUE)
  guid <- sub(".*\"storage\" = \"([^\"]+)\".*", "\\1", said)
  withr::local_options(entrar.connect_integrations = c(storage = guid))
  expect_type(azure_token("storage", session = session, refresh = TRUE), "character")
})

test_that("faults have their kinds, and no secret is in what is said", {
  local_session(NA)
  failure <- function(fault) {
    azure <- local_emulated_azure(connect = list(viewer = "graph", faults = fault))
    session <- azure$session(ada)
    said <- tryCatch(azure_token("graph", session = session), entrar_error = identity)
    expect_false(any(grepl("canary", c(conditionMessage(said), format(unclass(said))))))
    said$kind
  }
  expect_identical(failure("key_expired"), "bad_cookie")
  expect_identical(failure("visitor_refused"), "sign_in_required")
  expect_identical(failure(c("visitor_refused", "old_errors")), "sign_in_required")
  expect_identical(failure("no_refresh_token"), "misconfigured")
})

test_that("the content's token file may be empty, gone or another each time", {
  local_session(NA)
  azure <- local_emulated_azure(connect = list(content = "storage", faults = "rotated"))
  own <- function() kind_of(nchar(azure_token("storage", refresh = TRUE, identity = "content")) > 0)
  expect_true(own())
  expect_true(own())
  with_file <- function(path, code) {
    withr::with_envvar(c(CONNECT_CONTENT_SESSION_TOKEN_FILE = path), code)
  }
  expect_identical(with_file(withr::local_tempfile(lines = character()), own()), "bad_cookie")
  expect_identical(with_file("/nowhere/token", own()), "bad_cookie")
})

test_that("an opaque token is handed out, and not kept", {
  local_session(NA)
  azure <- local_emulated_azure(connect = list(viewer = "graph", faults = "opaque_token"))
  session <- azure$session(ada)
  tokens <- c(azure_token("graph", session = session), azure_token("graph", session = session))
  expect_identical(anyDuplicated(tokens), 0L)
})

test_that("elsewhere several visitors of an app are worth one warning", {
  local_session(NA)
  azure <- local_emulated_azure()
  withr::defer({
    warned$developer <- NULL
    visitors$developers <- NULL
  })
  visitor <- visitor_session(visitor_request(character()))
  first <- visitor()
  second <- visitor()
  expect_no_warning(azure_token("graph", session = first))
  expect_no_warning(azure_token("graph", session = first))
  expect_warning(
    azure_token("graph", session = second),
    "all of them get tokens of the one who runs it"
  )
  expect_no_warning(azure_token("graph", session = second))
})

test_that("the report knows Connect, and asks for whom there is", {
  local_session(NA)
  azure <- local_emulated_azure(connect = list(viewer = "graph", content = "storage"))
  report <- azure_sitrep("graph")
  expect_identical(report$place$name, "connect")
  expect_null(report$place$failure)
  expect_identical(report$resources[[1]]$failure$kind, "no_session")
  expect_true(report$connect[["CONNECT_SERVER"]])
  granted <- in_session(azure$session(ada), azure_sitrep("graph"))$resources[[1]]
  expect_true(granted$granted)
  expect_identical(granted$account, ada)
  withr::local_options(entrar.connect_identity = "content")
  expect_true(azure_sitrep("storage")$resources[[1]]$granted)
  shown <- format(azure_sitrep("storage"))
  expect_match(shown, "Connect +it has set CONNECT_SERVER, CONNECT_API_KEY", all = FALSE)
  expect_false(any(grepl("canary", shown)))
})
