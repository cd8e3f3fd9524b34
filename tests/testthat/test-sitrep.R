# The report on a set-up: that each fault is a line of it, and that nothing secret is.

# The report without what differs from run to run.
report <- function(sitrep) {
  withr::local_options(width = 1000)
  text <- without_addresses(format(sitrep))
  text <- gsub("[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8} [-+A-Z0-9]+", "DATE", text)
  # git is set up, or is not there, as it may be on this machine.
  text <- text[!grepl("git .*(Azure DevOps|not found)|azure_git_sitrep|Other helpers", text)]
  text <- gsub("answered in [0-9]+ ms", "answered in N ms", text)
  text <- gsub("/[^ ]*/(missing\\.pem)", "DIRECTORY/\\1", text)
  sub("(entrar +)[0-9].* on [^ ]+,", "\\1VERSION on PLATFORM,", text)
}

# A snapshot of the report, which has no canary in it, and neither has what is behind it.
expect_report <- function(resources = NULL) {
  sitrep <- expect_silent(azure_sitrep(resources))
  shown <- capture.output(
    print(sitrep),
    str(sitrep),
    print(unclass(sitrep)),
    dput(unclass(sitrep))
  )
  expect_false(any(grepl(canary, shown)), label = "a secret was shown")
  text <- report(sitrep)
  expect_snapshot(writeLines(text))
  invisible(sitrep)
}

# The server's clock, when it answers, is so many seconds ahead of this machine's.
dated <- function(seconds = 0) sprintf("Date: %+d", as.integer(seconds))

# A server whose every reply has a token in it, also that to the probe.
token_server <- function(headers = dated(), ...) {
  body <- token_reply()[[2]]
  wire_address(list(reply(sub("^.*\r\n\r\n", "", body), headers = headers)), ...)
}

cookie_directory <- function(cookie, frame = parent.frame()) {
  directory <- withr::local_tempdir(.local_envir = frame)
  writeLines(cookie, file.path(directory, "rpc_cookie"))
  directory
}

refusing_server <- function() {
  description <- "AADSTS65001: The user has not consented.\r\nTrace ID: t-1"
  body <- sprintf(
    '{"result":false,"oauth2_error":{"error":"invalid_grant","suberror":"consent_required","error_description":%s,"error_codes":[65001],"trace_id":"t-1","correlation_id":"c-1"}}',
    jsonlite::toJSON(description, auto_unbox = TRUE)
  )
  wire_address(list(reply(body)))
}

test_that("on a desktop it says how to get a session", {
  local_session(NA, NA)
  sitrep <- expect_report("storage")
  expect_identical(sitrep$place$name, "none")
  expect_identical(sitrep$place$failure$kind, "no_session")
  expect_identical(sitrep$server$reachable, NA)
})

test_that("on Connect, and in a Workbench without an address, it says so", {
  local_session(NA, NA, RSTUDIO_PRODUCT = "CONNECT")
  expect_report()
  local_session(NA, NA, POSIT_PRODUCT = "WORKBENCH")
  sitrep <- expect_report()
  expect_identical(sitrep$place$found, "POSIT_PRODUCT")
})

test_that("a healthy Workbench is well in every line", {
  address <- token_server()
  local_session(
    address,
    canary_cookie(expires = Sys.time() + 1200),
    POSIT_PRODUCT = "WORKBENCH",
    PWB_SESSION_RUNTIME_DIR = cookie_directory(canary_cookie()),
    RSTUDIO_VERSION = "2026.01.1+403.pro8"
  )
  sitrep <- expect_report(c("storage", "https://vault.azure.net"))
  expect_lt(abs(sitrep$clock_skew), 20)
  expect_identical(sitrep$server$status, 200L)
  granted <- sitrep$resources[[1]]
  expect_true(granted$granted)
  expect_identical(granted$resource, "https://storage.azure.com")
  expect_identical(granted$scopes, c("a", "b"))
  expect_lt(abs(granted$lifetime - 3599), 30)
})

test_that("a token that tells whose it is does so in the report", {
  token <- ada(aud = "00000003-0000-0000-c000-000000000000")
  local_session(wire_address(list(token_reply(access_token = token))))
  sitrep <- azure_sitrep("graph")
  told <- sitrep$resources[[1]][c("account", "tenant", "audience")]
  expect_identical(
    told,
    list(
      account = "ada@example.com",
      tenant = "tenant-1",
      audience = "00000003-0000-0000-c000-000000000000"
    )
  )
  expect_identical(
    entry_of_resource(sitrep$resources[[1]])$details,
    c("scopes: a b", paste0(names(told), ": ", unlist(told)))
  )
  expect_false(any(grepl(canary, capture.output(print(sitrep), dput(unclass(sitrep))))))
})

test_that("the server is probed without the cookie", {
  address <- token_server()
  local_session(address)
  azure_sitrep()
  azure_sitrep("storage")
  requests <- requests_at(address)
  expect_length(requests, 3)
  has_cookie <- vapply(
    requests,
    function(request) "x-rs-session-server-rpc-cookie" %in% names(request$headers),
    logical(1)
  )
  expect_identical(has_cookie, c(FALSE, FALSE, TRUE))
  expect_false(any(grepl(canary, unlist(requests[1:2]))))
})

test_that("a server that is not reached is asked for no token", {
  local_session("http://127.0.0.1:1")
  sitrep <- expect_report(c("storage", "graph", "a b"))
  expect_identical(sitrep$server$failure$kind, "unreachable")
  expect_identical(sitrep$resources[[1]]$failure$kind, "unreachable")
  expect_identical(sitrep$resources[[3]]$failure$kind, "bad_resource")

  withr::local_options(entrar.timeout = 0.5)
  address <- wire_address(list(list("wait", 60)))
  local_session(address)
  expect_report(rep("storage", 10))
  expect_length(requests_at(address), 1)
})

test_that("an address that is none is not repeated", {
  local_session("ftp://CANARY:CANARY@CANARY")
  expect_report("storage")
})

test_that("an expired cookie is dated, and never sent", {
  address <- token_server()
  expired <- canary_cookie(expires = Sys.time() - 7200)
  local_session(address, NA, PWB_SESSION_RUNTIME_DIR = cookie_directory(expired))
  sitrep <- expect_report(c("storage", "graph"))
  expect_true(sitrep$cookies[[1]]$expired)
  expect_identical(sitrep$resources[[1]]$failure$kind, "bad_cookie")
  expect_false(sitrep$resources[[1]]$was_asked)
  expect_length(requests_at(address), 1)
})

test_that("a cookie without a date is sent, one in an empty file is missing", {
  local_session(token_server(), "u|garbage|CANARY", PWB_SESSION_RUNTIME_DIR = cookie_directory(""))
  expect_report()
})

test_that("a clock that is wrong by minutes is a fault, and either clock may be", {
  local_session(token_server(dated(300)))
  sitrep <- expect_report()
  expect_lt(abs(sitrep$clock_skew - 300), 20)
  clock <- function(seconds) {
    local_session(token_server(dated(seconds)))
    grep("Clock", format(azure_sitrep()), value = TRUE)
  }
  expect_match(clock(-10800), "[!!] Clock     3 hours ahead of the server's", fixed = TRUE)
  expect_match(clock(30), "Clock +[0-9]+ seconds behind the server's")
})

test_that("a certificate that is not trusted, and a bundle that is not there, are named", {
  address <- token_server(port = "good", scheme = "https")
  local_session(address)
  expect_report("storage")
  local_session(address, CURL_CA_BUNDLE = "/nowhere/missing.pem")
  expect_report()
  local_session(address, REQUESTS_CA_BUNDLE = file.path(wire_server()$directory, "ca.pem"))
  sitrep <- expect_report()
  expect_identical(sitrep$bundle$certificates, 1L)
})

test_that("a proxy is named without its password, and whether it applies", {
  proxy <- sprintf("http://CANARY:CANARY@127.0.0.1:%d", wire_server()$ports[["http"]])
  far <- sub("127.0.0.1:[0-9]+", "server.invalid", token_server())
  local_session(far, http_proxy = proxy)
  sitrep <- expect_report("storage")
  expect_true(sitrep$proxy$applies)
  expect_true(sitrep$server$in_clear)

  local_session(far, HTTP_PROXY = proxy, no_proxy = "server.invalid")
  expect_report()
  local_session(token_server(), all_proxy = "CANARY:CANARY@proxy.example:3128")
  expect_report()
  local_session(far, http_proxy = "http://CANARY:CANARY@[")
  expect_report()
})

test_that("the report neither warns of plain http nor keeps the next call from it", {
  proxy <- sprintf("http://127.0.0.1:%d", wire_server()$ports[["http"]])
  local_session(
    sub("127.0.0.1:[0-9]+", "server.invalid", token_server()),
    http_proxy = proxy
  )
  expect_silent(azure_sitrep("storage"))
  expect_warning(getDelegatedAzureToken("storage"), "plain http")
})

test_that("a refused resource comes with its remedy and the ids to quote", {
  local_session(refusing_server())
  sitrep <- expect_report(c("storage", "graph"))
  expect_true(sitrep$resources[[1]]$was_asked)
  expect_identical(sitrep$resources[[1]]$failure$kind, "consent_required")
  expect_identical(sitrep$resources[[1]]$failure$aadsts, 65001L)
})

test_that("what is no resource is refused, and a password in it is not repeated", {
  local_session(refusing_server())
  broken <- "\xff\xfe"
  Encoding(broken) <- "UTF-8"
  expect_report(c(NA, "", "a b", broken, "https://CANARY:CANARY@host/.default"))
  expect_error(azure_sitrep(7), "must be a character vector, or NULL")
})

test_that("a version that is too old is a fault, though the server answers", {
  address <- token_server()
  local_session(address, RSTUDIO_VERSION = "2024.09.1+394.pro7")
  sitrep <- expect_report("storage")
  expect_identical(sitrep$server$version_failure$kind, "server_too_old")
  expect_true(sitrep$server$reachable)
  expect_length(requests_at(address), 1)
})

test_that("in the IDE there is neither address nor cookie", {
  local_session(NA, NA)
  ide <- new.env()
  ide$.rs.api.getDelegatedAzureToken <- function(resource) {
    if (resource == "https://graph.microsoft.com") {
      stop("OAuth error: AADSTS700082: The refresh token has expired.")
    }
    list(access_token = canary, expires_at = as.numeric(Sys.time()) + 3600.5)
  }
  suppressMessages(attach(ide, name = "tools:rstudio"))
  withr::defer(detach("tools:rstudio", character.only = TRUE))
  sitrep <- expect_report(c("storage", "graph"))
  expect_identical(sitrep$place$name, "ide")
})

test_that("one's own agent is named, and where it has ended that is said", {
  skip_on_os("windows")
  directory <- local_agents_directory()
  withr::local_envvar(RSTUDIO_VERSION = "2023.01.0")
  agent <- function(sitrep) {
    text <- report(sitrep)
    gsub(dirname(directory), "BASE", text[!grepl("entrar +VERSION|DATE", text)], fixed = TRUE)
  }
  pid <- start_agent(directory)
  sitrep <- expect_silent(azure_sitrep("storage"))
  expect_identical(sitrep$place$name, "agent")
  expect_true(sitrep$server$reachable)
  expect_true(sitrep$resources[[1]]$granted)
  running <- agent(sitrep)
  kill_agent(pid)
  sitrep <- azure_sitrep("storage")
  expect_identical(sitrep$server$failure$kind, "no_session")
  ended <- agent(sitrep)
  expect_snapshot(writeLines(c(running, "", ended)))
})

test_that("a timeout that cannot be used is a line of the report", {
  withr::local_options(entrar.timeout = "soon")
  local_session(token_server())
  expect_report("storage")
})

test_that("the report is as wide as the console, and plain", {
  withr::local_options(width = 60)
  local_session(NA, NA)
  text <- format(azure_sitrep("storage"))
  expect_lte(max(nchar(text)), 60)
  expect_false(any(grepl("\033", text, fixed = TRUE)))
})

test_that("colour is for terminals alone, and for those that want it", {
  sitrep <- azure_sitrep()
  expect_false(any(grepl("\033", capture.output(print(sitrep)), fixed = TRUE)))
  coloured <- sitrep_text(sitrep, drawn_marks, mark_colours)
  expect_match(
    coloured,
    paste0("\033[34m", drawn_marks[["note"]], "\033[39m"),
    fixed = TRUE,
    all = FALSE
  )
  expect_identical(gsub("\033\\[[0-9]+m", "", coloured), sitrep_text(sitrep, drawn_marks))
})

test_that("a length of time is told in the unit that one would use", {
  expect_identical(
    vapply(c(0.2, 1, 59, 119, 120, 3599, 7200, 172799, 172800), span, ""),
    c(
      "0 seconds",
      "1 second",
      "59 seconds",
      "119 seconds",
      "2 minutes",
      "60 minutes",
      "2 hours",
      "48 hours",
      "2 days"
    )
  )
})

test_that("an interrupt ends it", {
  skip_on_os("windows")
  when <- withr::local_tempfile()
  local_session(wire_address(c(interrupting(when), list(list("wait", 60)))))
  expect_s3_class(tryCatch(azure_sitrep(), interrupt = identity), "interrupt")
  # The report's own time is 30 seconds.
  expect_lt(seconds_since(when), 20)
})

test_that("git's state is a line that stands in nobody's way", {
  of <- function(...) {
    known <- list(
      git = "2.47.3",
      configured = TRUE,
      origin = "file:x",
      before = character(),
      after = character()
    )
    entry_of_git(utils::modifyList(known, list(...)))
  }
  expect_identical(of()$mark, "good")
  expect_identical(of(git = NA_character_)$text, "not found")
  expect_match(of(configured = FALSE)$text, "use_azure_git()", fixed = TRUE)
  expect_identical(of(after = "store")$details[[1]], "Other helpers are asked too: store.")
})
