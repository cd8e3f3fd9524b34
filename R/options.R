# The options, and the help page of all that can be set.

#' Options and environment variables
#'
#' @section Options:
#' * `entrar.timeout`: how long a call may take in all, in seconds; 30 if it is not set. The
#'   variable `ENTRAR_TIMEOUT` does the same where the option is not set. Anything but one number above 0
#'   and at most 86400 is an error.
#' * `entrar.tenant`, `entrar.client_id`: what [azure_sign_in()] signs in to where neither its arguments nor the variables below
#'   say.
#'
#' * `entrar.connect_integrations`: on Posit Connect, which OAuth integration serves a resource where several could: a vector
#'   of GUIDs, with the names of [azure_resources()] or resources as their names.
#' * `entrar.connect_identity`: `"content"` where code outside of a visitor's session is to have the content's own tokens. It
#'   does not count while a Shiny app runs. See [entrar-connect].
#'
#' @section Variables that Posit Workbench sets:
#' * `RS_SERVER_ADDRESS`: the server's address, for example `http://127.0.0.1:8787`.
#' * `PWB_SESSION_RUNTIME_DIR`: the directory whose file `rpc_cookie` holds the session's cookie.
#' * `RS_SESSION_RPC_COOKIE`: the cookie itself. Of both, the one that expires later is used.
#' * `RSTUDIO_VERSION`: the server's version.
#' * `POSIT_PRODUCT`: which product this is; only the error for a missing session depends on it.
#'
#' @section Variables of sessions without Posit Workbench:
#' * `ENTRAR_RUNTIME_DIR`: the directory where your agent is found. It has to be yours alone (mode 0700) and on a disk of
#'   this machine. If it is not set, that is `entrar` in the directory `XDG_RUNTIME_DIR`, else `/tmp/entrar-UID`.
#' * `ENTRAR_HUB_SOCKET`: the socket of this machine's hub, an absolute path; `off` where no hub is to be asked. If it is not
#'   set, that is `/run/entrar/hub.sock` on Linux. A hub is asked where `RS_SERVER_ADDRESS` is not set and there is no agent of
#'   yours. The socket has to belong to root or to a system user (by `SYS_UID_MAX` in `/etc/login.defs`, as a rule up to 999);
#'   one that the variable names may be your own, too. The directories above it have to belong to root or the same user,
#'   and nobody else may write there: otherwise it is not used.
#' * `AZURE_TENANT_ID`, `AZURE_CLIENT_ID`, `AZURE_AUTHORITY_HOST`, and for an app that proves itself `AZURE_CLIENT_SECRET`,
#'   `AZURE_CLIENT_CERTIFICATE_PATH` or `AZURE_FEDERATED_TOKEN_FILE`: what [azure_sign_in()] signs in to.
#' * `ENTRAR_ORIGIN`: `agent` or `hub`, where one of those has set `RS_SERVER_ADDRESS`.
#'
#' @section Variables of the network:
#' * `REQUESTS_CA_BUNDLE`, else `CURL_CA_BUNDLE`, else `SSL_CERT_FILE`: certificates in PEM form, in
#'   one file or the files of a directory, that are trusted instead of the system's. Certificates are always verified.
#' * `https_proxy`, `http_proxy`, `all_proxy`, `no_proxy`, in lower or upper case: the proxy, which
#'   is never used for an address of this machine.
#'
#' @name entrar-options
#' @aliases entrar.timeout ENTRAR_TIMEOUT
NULL

default_timeout <- 30

# Seconds for a whole call.
call_timeout <- function() {
  option <- getOption("entrar.timeout")
  if (!is.null(option)) {
    return(check_timeout(option, "The option `entrar.timeout`"))
  }
  variable <- Sys.getenv("ENTRAR_TIMEOUT")
  if (!nzchar(variable)) {
    return(default_timeout)
  }
  check_timeout(suppressWarnings(as.numeric(variable)), "The variable ENTRAR_TIMEOUT")
}

# A day is more than anybody waits, and keeps the arithmetic of deadlines safe.
longest_timeout <- 86400

check_timeout <- function(seconds, name) {
  good <- is.numeric(seconds) &&
    length(seconds) == 1 &&
    !is.na(seconds) &&
    seconds > 0 &&
    seconds <= longest_timeout
  if (!good) {
    stop(name, " must be one number of seconds, above 0 and at most 86400.", call. = FALSE)
  }
  as.numeric(seconds)
}
