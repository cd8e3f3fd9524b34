# The server's address, its version, and TLS.

test_that("an address works as people write it", {
  script <- function() wire_address(list(token_reply()))
  for (change in list(
    identity,
    function(address) paste0(address, "/"),
    function(address) paste0(address, "/dev/"),
    function(address) sub("http://", "", address),
    function(address) sub("http", "HTTP", address),
    function(address) paste0(" ", address, " ")
  )) {
    local_session(change(script()))
    expect_s3_class(getDelegatedAzureToken(storage), "entrar_token")
  }
})

test_that("what is no http address is said to be none, without repeating it", {
  expect_messages(c(
    failure("garbage", "unreachable", "CANARY CANARY"),
    failure("a variable's name", "unreachable", "http://${CANARY}:8787"),
    failure("another scheme", "unreachable", "ftp://CANARY"),
    failure("no host", "unreachable", "http://"),
    failure("a path", "unreachable", "/CANARY"),
    failure("no port", "unreachable", "http://127.0.0.1:CANARY")
  ))
})

test_that("a password that nobody has percent-encoded is shown nowhere, and nobody is asked", {
  written <- c(
    "http://svc:CANARY/CANARY@server.example",
    "http://svc:CANARY@CANARY#CANARY@server.example:8080",
    "svc:CANARY?CANARY@server.example",
    "https://svc:CANARY\\CANARY@server.example"
  )
  expect_messages(unlist(lapply(seq_along(written), function(i) {
    failure(paste("address", i), "unreachable", written[[i]])
  })))
  for (address in written) {
    for (variables in list(
      list(address),
      list("http://server.invalid", http_proxy = address),
      list("https://server.invalid", all_proxy = address)
    )) {
      do.call(local_session, variables)
      report <- azure_sitrep(address)
      expect_false(any(grepl(canary, c(format(report), capture.output(str(report))))))
      expect_match(format(report), "percent-encode", all = FALSE)
    }
    local_session("http://127.0.0.1:1")
    report <- azure_sitrep(c(address, paste0(address, "/.default")))
    expect_false(any(grepl(canary, c(format(report), capture.output(str(report))))))
    error <- tryCatch(getDelegatedAzureToken(address), error = identity)
    expect_s3_class(error, "entrar_error_bad_resource")
    expect_identical(error$resource, NA_character_)
    expect_false(any(grepl(canary, capture.output(print(error), dput(unclass(error)[-2])))))
  }
})

test_that("what holds a secret is no resource, and is not repeated", {
  local_session("http://127.0.0.1:1")
  for (resource in c(
    "https://example.blob.core.windows.net/c?sv=1&sig=CANARY",
    "DefaultEndpointsProtocol=https;AccountKey=CANARY==",
    "https://svc%3ACANARY%40example.com",
    "svc/CANARY@example.com"
  )) {
    error <- expect_error(getDelegatedAzureToken(resource), class = "entrar_error_bad_resource")
    expect_false(any(grepl(canary, capture.output(print(error), dput(unclass(error)[-2])))))
    report <- azure_sitrep(resource)
    expect_false(any(grepl(canary, c(format(report), capture.output(str(report))))))
  }
})

test_that("only a version that is known to be too old is refused", {
  address <- wire_address(list(token_reply()))
  expect_messages(
    failure("too old", "server_too_old", address, env = c(RSTUDIO_VERSION = "2024.09.1+394.pro7"))
  )
  expect_length(requests_at(address), 0)
  for (version in c("2024.12.0", "2026.01.1+403.pro8", "2024.09.0-dev+1", "unparsable", "2026")) {
    local_session(address, RSTUDIO_VERSION = version)
    expect_s3_class(getDelegatedAzureToken(storage), "entrar_token")
  }
})

test_that("the message for a missing session depends on the place", {
  expect_messages(c(
    failure("a desktop", "no_session", NA),
    failure("Workbench without an address", "no_session", NA, env = c(POSIT_PRODUCT = "WORKBENCH")),
    failure("Connect", "no_session", NA, env = c(POSIT_PRODUCT = "CONNECT")),
    failure("older Connect", "no_session", NA, env = c(RSTUDIO_PRODUCT = "CONNECT"))
  ))
})

tls <- function(port, ...) wire_address(list(token_reply()), port = port, scheme = "https", ...)
authority <- function() file.path(wire_server()$directory, "ca.pem")

test_that("one's own authority is trusted through each of the three variables", {
  for (variable in c("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")) {
    for (host in c("127.0.0.1", "localhost")) {
      do.call(
        local_session,
        c(list(tls("good", host = host)), stats::setNames(authority(), variable))
      )
      expect_s3_class(getDelegatedAzureToken(storage), "entrar_token")
    }
  }
  local_session(tls("good"), REQUESTS_CA_BUNDLE = authority(), CURL_CA_BUNDLE = "/nowhere.pem")
  expect_s3_class(getDelegatedAzureToken(storage), "entrar_token")
})

test_that("a certificate that is not right is refused, and no cookie is sent", {
  trusting <- c(REQUESTS_CA_BUNDLE = authority())
  not_a_bundle <- withr::local_tempfile(lines = "CANARY", fileext = ".pem")
  http_port <- wire_server()$ports[["http"]]
  expect_messages(c(
    failure("unknown authority", "unreachable", tls("good")),
    failure("another host's", "unreachable", tls("wrong_host"), env = trusting),
    failure("expired", "unreachable", tls("expired"), env = trusting),
    failure(
      "a bundle that does not exist",
      "unreachable",
      tls("good"),
      env = c(CURL_CA_BUNDLE = "/nowhere/ca.pem")
    ),
    sub(
      "/[^ ]*file[0-9a-f]+\\.pem",
      "FILE",
      failure(
        "a bundle that is none",
        "unreachable",
        tls("good"),
        env = c(SSL_CERT_FILE = not_a_bundle)
      )
    ),
    failure(
      "no TLS there",
      "unreachable",
      sprintf("https://127.0.0.1:%d", http_port),
      env = trusting
    ),
    failure("http where there is TLS", "unreachable", sub("https", "http", tls("good")))
  ))
})
