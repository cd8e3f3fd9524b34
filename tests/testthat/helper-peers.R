# The TLS servers and proxies of peers.py: started once, on first use, with certificates made for the occasion.

peers <- new.env()

# The port of a peer.
peer <- function(name) {
  if (is.null(peers$ports)) {
    peers$directory <- tempfile("peers")
    dir.create(peers$directory)
    make_peers_certificates(peers$directory)
    ready <- file.path(peers$directory, "ready.json")
    run_python(c(test_path("peers.py"), ready, Sys.getpid(), peers$directory))
    wait_for(file.exists(ready), "the odd servers and proxies")
    peers$ports <- jsonlite::read_json(ready)
    withr::defer(tools::pskill(peers$ports$pid), testthat::teardown_env())
  }
  peers$ports[[name]]
}

certificate <- function(name) {
  peer("log")
  file.path(peers$directory, paste0(name, ".pem"))
}

# Makes NAME.pem and NAME.key for each.
make_peers_certificates <- function(directory) {
  at <- function(...) file.path(directory, paste0(...))
  # RSA, since what has no forward secrecy signs nothing, but decrypts.
  key <- c("-newkey", "rsa:2048", "-nodes")
  self_signed <- function(name, subject, names, ...) {
    openssl(
      c("req", "-x509", key, "-keyout", at(name, ".key"), "-out", at(name, ".pem")),
      c("-days", "2", "-subj", subject),
      if (length(names)) c("-addext", paste0("subjectAltName=", names)),
      ...
    )
  }
  hosts <- "IP:127.0.0.1,DNS:localhost"
  self_signed("ca", "/CN=throwaway", NULL)
  self_signed("self_signed", "/CN=localhost", hosts)
  self_signed("self_signed_other_host", "/CN=localhost", "DNS:elsewhere.example")

  signed <- function(name, subject, extensions, days = "2", by = "ca") {
    openssl(
      "req",
      "-new",
      key,
      "-keyout",
      at(name, ".key"),
      "-out",
      at(name, ".csr"),
      "-subj",
      subject
    )
    if (length(extensions)) {
      writeLines(extensions, at(name, ".ext"))
    }
    signer <- if (by == name) {
      c("-signkey", at(name, ".key"))
    } else {
      c("-CA", at(by, ".pem"), "-CAkey", at(by, ".key"), "-CAcreateserial")
    }
    openssl(
      c("x509", "-req", "-in", at(name, ".csr"), signer, "-days", days, "-out", at(name, ".pem")),
      if (length(extensions)) c("-extfile", at(name, ".ext"))
    )
  }
  # Without extensions openssl makes version 1.
  signed("version_1", "/CN=localhost", NULL, by = "version_1")
  signed("version_1_other_host", "/CN=elsewhere.example", NULL, by = "version_1_other_host")
  is_authority <- "basicConstraints=CA:TRUE"
  signed(
    "self_signed_expired",
    "/CN=localhost",
    c(is_authority, paste0("subjectAltName=", hosts)),
    days = "-1",
    by = "self_signed_expired"
  )
  signed("server", "/CN=localhost", paste0("subjectAltName=", hosts))
  signed("no_names", "/CN=localhost", "basicConstraints=CA:FALSE")
  leaf <- c(
    "basicConstraints=CA:FALSE",
    "keyUsage=digitalSignature",
    paste0("subjectAltName=", hosts)
  )
  signed("leaf", "/CN=leaf", leaf, by = "leaf")
  signed("signed_by_leaf", "/CN=localhost", leaf, by = "leaf")
  signed(
    "self_signed_for_clients",
    "/CN=localhost",
    c(leaf, "extendedKeyUsage=clientAuth"),
    by = "self_signed_for_clients"
  )
  signed(
    "for_clients",
    "/CN=localhost",
    c(paste0("subjectAltName=", hosts), "extendedKeyUsage=clientAuth")
  )
}
