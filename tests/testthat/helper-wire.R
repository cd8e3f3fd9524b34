# The raw-socket server of wire.py: started once, on first use; each test's script stands in the
# address it asks.

# Whatever is secret in a test holds this word, so that a leak can be found in all that was printed.
canary <- "CANARY"

canary_cookie <- function(user = "alice", expires = Sys.time() + 3600) {
  old <- Sys.setlocale("LC_TIME", "C")
  on.exit(Sys.setlocale("LC_TIME", old))
  date <- format(.POSIXct(as.numeric(expires)), "%a, %d %b %Y %H:%M:%S GMT", tz = "GMT")
  paste(user, utils::URLencode(date, reserved = TRUE), canary, sep = "|")
}

wire <- new.env()

wire_server <- function() {
  if (is.null(wire$pid)) {
    wire$directory <- tempfile("wire")
    dir.create(wire$directory)
    certificates <- make_certificates(wire$directory)
    ready <- file.path(wire$directory, "ready.json")
    run_python(c(test_path("wire.py"), ready, Sys.getpid(), certificates))
    wait_for(file.exists(ready), "the raw-socket server")
    started <- jsonlite::read_json(ready, simplifyVector = TRUE)
    wire$pid <- started$pid
    wire$ports <- stats::setNames(started$ports, c("http", certificate_names))
    wire$six <- started$six
    withr::defer(tools::pskill(wire$pid), testthat::teardown_env())
  }
  wire
}

# R's own LD_LIBRARY_PATH may keep Python from finding its ssl module.
run_python <- function(arguments) {
  system2("env", c("-u", "LD_LIBRARY_PATH", "python3", shQuote(arguments)), wait = FALSE)
}

# Waits until the condition holds; `seconds` are far more than a slow machine needs.
wait_for <- function(condition, what, seconds = 120) {
  condition <- substitute(condition)
  for (i in seq_len(seconds * 50)) {
    if (isTRUE(eval(condition, parent.frame()))) {
      return(invisible())
    }
    Sys.sleep(0.02)
  }
  stop("gave up waiting for ", what)
}

certificate_names <- c("good", "wrong_host", "expired")

# A throwaway authority with one certificate for each way to be right or wrong; as pairs of
# certificate and key.
make_certificates <- function(directory) {
  at <- function(...) file.path(directory, paste0(...))
  key <- c("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
  openssl(
    "req",
    "-x509",
    key,
    "-keyout",
    at("ca.key"),
    "-out",
    at("ca.pem"),
    "-days",
    "2",
    "-subj",
    "/CN=throwaway"
  )
  hosts <- c(
    good = "IP:127.0.0.1,DNS:localhost",
    wrong_host = "DNS:elsewhere.example",
    expired = "IP:127.0.0.1"
  )
  days <- c(good = "2", wrong_host = "2", expired = "-1")
  for (name in certificate_names) {
    writeLines(paste0("subjectAltName=", hosts[[name]]), file.path(directory, paste0(name, ".ext")))
    openssl(
      "req",
      "-new",
      key,
      "-keyout",
      at(name, ".key"),
      "-out",
      at(name, ".csr"),
      "-subj",
      "/CN=server"
    )
    openssl(
      c(
        "x509",
        "-req",
        "-in",
        at(name, ".csr"),
        "-CA",
        at("ca.pem"),
        "-CAkey",
        at("ca.key"),
        "-CAcreateserial"
      ),
      c("-days", days[[name]], "-extfile", at(name, ".ext"), "-out", at(name, ".pem"))
    )
  }
  as.vector(rbind(
    file.path(directory, paste0(certificate_names, ".pem")),
    file.path(directory, paste0(certificate_names, ".key"))
  ))
}

# The address of a script: `...` are replies, each a list of steps (see wire.py). `name` keeps two
# tests with equal scripts apart.
wire_address <- function(..., port = "http", scheme = "http", host = "127.0.0.1") {
  server <- wire_server()
  wire$scripts <- (if (is.null(wire$scripts)) 0 else wire$scripts) + 1
  # A step that does nothing makes each script's path its own.
  replies <- lapply(list(...), function(steps) c(list(list("wait", 0)), steps))
  replies[[1]][[1]] <- list("wait", wire$scripts / 1e9)
  script <- jsonlite::toJSON(replies, auto_unbox = TRUE, digits = 12)
  segment <- gsub("\n", "", jsonlite::base64url_enc(charToRaw(enc2utf8(script))))
  number <- if (port == "six") server$six else server$ports[[port]]
  sprintf("%s://%s:%d/%s", scheme, host, number, segment)
}

# One step that sends a whole HTTP reply. A character of it is one byte on the wire.
reply <- function(body = "", status = "200 OK", headers = "Content-Type: application/json") {
  length <- sprintf("Content-Length: %d", nchar(body))
  list(
    "send",
    paste0(paste(c(paste("HTTP/1.1", status), headers, length, "", ""), collapse = "\r\n"), body)
  )
}

token_reply <- function(...) {
  token <- utils::modifyList(
    list(access_token = canary, token_type = "Bearer", expires_in = 3599, scope = "a b"),
    list(...)
  )
  reply(jsonlite::toJSON(list(result = TRUE, token = token), auto_unbox = TRUE))
}

# A token that is to be renewed by now, and is good for minutes yet: as if it had been asked for an hour ago. It is
# kept for this session, as the one that a call has brought, and returned.
kept_token_to_renew <- function(resource, access_token = "CANARY-1") {
  now <- floor(as.numeric(Sys.time()))
  fields <- list(access_token = access_token, token_type = "Bearer", expires_at = now + 240)
  token <- new_token(fields, resource, now - 3359)
  keep_token(resource, token, now - 3359)
  token
}

# What has arrived at an address, as a list of requests.
requests_at <- function(address) {
  server <- wire_server()
  withr::local_envvar(http_proxy = NA, all_proxy = NA)
  log <- readLines(sprintf("http://127.0.0.1:%d/log", server$ports[["http"]]), warn = FALSE)
  path <- sub("^[a-z]+://[^/]+", "", address)
  Filter(
    function(request) startsWith(request$path, path),
    jsonlite::fromJSON(log, simplifyVector = FALSE)
  )
}

# Everything that decides about a session, set or unset for the rest of a test.
local_session <- function(address = NA, cookie = canary_cookie(), ..., frame = parent.frame()) {
  variables <- c(
    RS_SERVER_ADDRESS = address,
    RS_SESSION_RPC_COOKIE = cookie,
    PWB_SESSION_RUNTIME_DIR = NA,
    RSTUDIO_VERSION = NA,
    POSIT_PRODUCT = NA,
    RSTUDIO_PRODUCT = NA,
    ENTRAR_ORIGIN = NA,
    # Nobody's agent and no hub is met, whatever there is on this machine.
    ENTRAR_RUNTIME_DIR = "/nowhere/entrar",
    ENTRAR_HUB_SOCKET = "off",
    ENTRAR_TIMEOUT = NA,
    REQUESTS_CA_BUNDLE = NA,
    CURL_CA_BUNDLE = NA,
    SSL_CERT_FILE = NA,
    SSL_CERT_DIR = NA,
    http_proxy = NA,
    https_proxy = NA,
    all_proxy = NA,
    no_proxy = NA,
    HTTP_PROXY = NA,
    HTTPS_PROXY = NA,
    ALL_PROXY = NA,
    NO_PROXY = NA
  )
  changes <- c(...)
  variables[names(changes)] <- changes
  withr::local_envvar(variables, .local_envir = frame)
  # A new session is warned anew.
  forget_warnings <- function() rm(list = ls(warned), envir = warned)
  forget_warnings()
  withr::defer(forget_warnings(), frame)
}

# Steps of a script that interrupt this process `seconds` after a request came, or after the reply before them. `when`
# is the file that says when.
interrupting <- function(when, seconds = 0) {
  list(list("wait", seconds), list("interrupt", when))
}

seconds_since <- function(when) as.numeric(Sys.time()) - as.numeric(readLines(when, warn = FALSE))

# Runs openssl quietly; an error if it fails.
openssl <- function(...) {
  status <- system2("openssl", shQuote(c(...)), stdout = FALSE, stderr = FALSE)
  if (status != 0) {
    stop("openssl ", paste(..., collapse = " "), " failed")
  }
}
