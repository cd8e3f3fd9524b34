# Certificates, TLS versions and proxies, as they are met in companies.

at_peer <- function(name, host = "localhost") sprintf("https://%s:%d", host, peer(name))

expect_token <- function(address, ...) {
  local_session(address, ...)
  expect_s3_class(suppressWarnings(getDelegatedAzureToken(storage)), "entrar_token")
}

trusting <- function(name) c(REQUESTS_CA_BUNDLE = certificate(name))

test_that("a certificate that is itself in the named bundle is accepted for its names", {
  for (name in c("self_signed", "self_signed_tls12")) {
    expect_token(at_peer(name), REQUESTS_CA_BUNDLE = certificate("self_signed"))
    expect_token(at_peer(name, "127.0.0.1"), REQUESTS_CA_BUNDLE = certificate("self_signed"))
  }
  for (name in c("version_1", "version_1_tls12")) {
    expect_token(at_peer(name), REQUESTS_CA_BUNDLE = certificate("version_1"))
  }
})

test_that("a server's own certificate in the bundle vouches for nothing that its key has signed", {
  expect_token(at_peer("leaf"), REQUESTS_CA_BUNDLE = certificate("leaf"))
  expect_messages(c(
    failure("signed by a server", "unreachable", at_peer("signed_by_leaf"), env = trusting("leaf")),
    failure(
      "for clients only",
      "unreachable",
      at_peer("self_signed_for_clients"),
      env = trusting("self_signed_for_clients")
    )
  ))
})

test_that("it is not accepted for other names, after its time, or from another bundle", {
  expect_messages(c(
    failure(
      "another name",
      "unreachable",
      at_peer("self_signed_other_host"),
      env = trusting("self_signed_other_host")
    ),
    failure(
      "another common name",
      "unreachable",
      at_peer("version_1_other_host"),
      env = trusting("version_1_other_host")
    ),
    failure(
      "an address that it does not have",
      "unreachable",
      at_peer("version_1", "127.0.0.1"),
      env = trusting("version_1")
    ),
    failure(
      "expired",
      "unreachable",
      at_peer("self_signed_expired"),
      env = trusting("self_signed_expired")
    ),
    failure("not in the bundle", "unreachable", at_peer("self_signed"), env = trusting("ca")),
    failure(
      "version 1, not in the bundle",
      "unreachable",
      at_peer("version_1"),
      env = trusting("ca")
    )
  ))
})

test_that("each fault of a server's TLS has words of its own and a remedy", {
  expect_messages(c(
    failure("no subjectAltName", "unreachable", at_peer("no_names"), env = trusting("ca")),
    failure("for clients only", "unreachable", at_peer("for_clients"), env = trusting("ca")),
    failure("TLS 1.1", "unreachable", at_peer("old_tls"), env = trusting("ca")),
    failure(
      "no forward secrecy",
      "unreachable",
      at_peer("no_forward_secrecy"),
      env = trusting("ca")
    ),
    failure("asks for a certificate", "unreachable", at_peer("asks"), env = trusting("ca")),
    failure(
      "asks for a certificate over TLS 1.2",
      "unreachable",
      at_peer("asks_over_tls12"),
      env = trusting("ca")
    )
  ))
})

test_that("of a bundle what can be read is read", {
  good <- readLines(certificate("ca"))
  garbage <- c("-----BEGIN CERTIFICATE-----", "AAAA", "-----END CERTIFICATE-----")
  no_base64 <- c("-----BEGIN CERTIFICATE-----", "!!!!", "-----END CERTIFICATE-----")
  trusted <- withr::local_tempfile(fileext = ".pem")
  system2(
    "openssl",
    c("x509", "-in", certificate("ca"), "-addtrust", "serverAuth", "-trustout", "-out", trusted)
  )
  expect_match(readLines(trusted)[[1]], "BEGIN TRUSTED CERTIFICATE")
  bundles <- list(
    c(garbage, good),
    c(no_base64, good, garbage),
    c(paste0("\ufeff", good[[1]]), good[-1]),
    readLines(trusted)
  )
  for (lines in bundles) {
    bundle <- withr::local_tempfile(fileext = ".pem")
    writeLines(enc2utf8(lines), bundle, useBytes = TRUE)
    expect_token(at_peer("server"), REQUESTS_CA_BUNDLE = bundle)
  }
  wide <- withr::local_tempfile(fileext = ".pem")
  text <- iconv(paste(c(good, ""), collapse = "\r\n"), to = "UTF-16LE", toRaw = TRUE)[[1]]
  writeBin(c(as.raw(c(0xff, 0xfe)), text), wide)
  expect_token(at_peer("server"), REQUESTS_CA_BUNDLE = wide)
})

test_that("what cannot be read of a bundle is told where it may matter", {
  garbage <- c("-----BEGIN CERTIFICATE-----", "AAAA", "-----END CERTIFICATE-----")
  bundle <- withr::local_tempfile(fileext = ".pem")
  writeLines(c(readLines(certificate("self_signed")), garbage), bundle)
  nothing <- withr::local_tempfile(lines = garbage, fileext = ".pem")
  shown <- c(
    failure("perhaps that one", "unreachable", at_peer("server"), env = c(CURL_CA_BUNDLE = bundle)),
    failure("only that one", "unreachable", at_peer("server"), env = c(CURL_CA_BUNDLE = nothing))
  )
  expect_messages(gsub("/[^ ]*file[0-9a-f]+\\.pem", "FILE", shown))
  local_session(at_peer("self_signed"), REQUESTS_CA_BUNDLE = bundle)
  report <- azure_sitrep()
  expect_identical(report$bundle$certificates, 1L)
  expect_identical(report$bundle$faults, sprintf("certificate 2 in %s cannot be read", bundle))
  expect_match(
    gsub("[ \n]+", " ", paste(format(report), collapse = " ")),
    "Certificate 2 in [^ ]+ cannot be read\\."
  )
})

test_that("what OpenSSL marks as not trusted for servers is not", {
  marked <- function(label, ...) {
    file <- withr::local_tempfile(fileext = ".pem")
    system2("openssl", c("x509", "-in", certificate("ca"), ..., "-trustout", "-out", file))
    shown <- failure(label, "unreachable", at_peer("server"), env = c(SSL_CERT_FILE = file))
    gsub("/[^ ]*file[0-9a-f]+\\.pem", "FILE", shown)
  }
  expect_messages(c(
    marked("rejected", "-addreject", "serverAuth"),
    marked("for mail", "-addtrust", "emailProtection")
  ))
})

test_that("of many faults a few are told", {
  garbage <- c("-----BEGIN CERTIFICATE-----", "AAAA", "-----END CERTIFICATE-----")
  bundle <- withr::local_tempfile(lines = rep(garbage, 1000), fileext = ".pem")
  shown <- failure("a thousand", "unreachable", at_peer("server"), env = c(SSL_CERT_FILE = bundle))
  expect_messages(gsub("/[^ ]*file[0-9a-f]+\\.pem", "FILE", shown))
})

test_that("a proxy that stands in the way is told from the server", {
  proxied <- function(label, kind, scheme, proxy) {
    variable <- paste0(scheme, "_proxy")
    address <- if (grepl("://", proxy)) proxy else sprintf("http://127.0.0.1:%d", peer(proxy))
    env <- stats::setNames(address, variable)
    failure(label, kind, paste0(scheme, "://server.invalid"), env = env)
  }
  expect_messages(c(
    proxied("407", "unreachable", "http", "proxy_407"),
    proxied("407 for a tunnel", "unreachable", "https", "proxy_407"),
    proxied("403", "unreachable", "http", "proxy_403"),
    proxied("403 for a tunnel", "unreachable", "https", "proxy_403"),
    proxied("a page", "bad_reply", "http", "proxy_page"),
    proxied("unknown", "unreachable", "http", "http://proxy.invalid:3128"),
    proxied("unknown, for https", "unreachable", "https", "http://proxy.invalid:3128"),
    proxied("unknown, of SOCKS", "unreachable", "http", "socks5h://proxy.invalid:1080"),
    proxied(
      "a password with a #",
      "unreachable",
      "http",
      "http://svc:CANARY@CANARY#2026@proxy:8080"
    ),
    proxied("a password with a /", "unreachable", "https", "http://svc:CANARY/CANARY@proxy:8080"),
    proxied("another scheme", "unreachable", "http", "ftp://CANARY")
  ))
})

test_that("SOCKS proxies are spoken to, and look names up or leave that to us", {
  named <- function() {
    withr::local_envvar(all_proxy = NA)
    jsonlite::fromJSON(sprintf("http://127.0.0.1:%d", peer("log")))
  }
  through <- function(host, scheme, user = "") {
    address <- sub("127.0.0.1", host, wire_address(list(token_reply())), fixed = TRUE)
    proxy <- sprintf("%s://%s127.0.0.1:%d", scheme, user, peer("socks"))
    expect_token(address, all_proxy = proxy)
  }
  through("server.invalid", "socks5h")
  through("server.invalid", "socks5h", "user:CANARY%40%2F%23@")
  expect_identical(named(), rep("server.invalid", 2))
  local_session(
    "http://server.invalid",
    all_proxy = sprintf("socks5://127.0.0.1:%d", peer("socks"))
  )
  error <- expect_error(
    suppressWarnings(getDelegatedAzureToken(storage)),
    class = "entrar_error_unreachable"
  )
  expect_match(
    conditionMessage(error),
    "the host of http://server.invalid is not known by that name"
  )
  expect_identical(named(), rep("server.invalid", 2))
})

test_that("a star before a domain in no_proxy is understood", {
  local_session(
    "http://server.invalid",
    http_proxy = sprintf("http://127.0.0.1:%d", peer("proxy_407")),
    no_proxy = "*.invalid"
  )
  report <- azure_sitrep()
  expect_false(report$proxy$applies)
  expect_identical(report$proxy$exception, "no_proxy")
  error <- expect_error(
    suppressWarnings(getDelegatedAzureToken(storage)),
    class = "entrar_error_unreachable"
  )
  expect_match(conditionMessage(error), "the host of http://server.invalid is not known")
})
