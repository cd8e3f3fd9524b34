# A token that stays fresh: kept in this process's memory, renewed before it expires.

#' A token that stays fresh
#'
#' `azure_token()` returns a delegated access token as a string. It is kept in this process's memory and
#' renewed before it expires, so call it wherever a token is needed, in a loop too, rather than keep
#' its result. [getDelegatedAzureToken()] asks Entra ID at every call; this function asks about once an
#' hour.
#'
#' A token is renewed five minutes before it expires, or after half its lifetime if that is later. While
#' a renewal fails, the old token serves until it expires, with one warning, and the renewal is tried
#' again every 30 seconds. After an error that asking again cannot cure, calls within the next minute raise the
#' same error without asking; `refresh = TRUE` asks anyway. If the server says how long to wait, nothing is
#' sent before that.
#'
#' Nothing is written to disk. Tokens are kept for one resource, one session (its address and cookie)
#' and one process; a forked child gets its own.
#'
#' `azure_forget()` drops every token that is kept. R may still hold the strings in its own memory, and
#' so may your variables: that is outside this package's reach. The tokens stay valid until they expire.
#'
#' `azure_headers()` is the same token as HTTP headers, for clients that take a named list of them or
#' a function returning one, such as
#' `ellmer::chat_azure_openai(credentials = function() azure_headers("openai"))`. It prints without the secret.
#' With the package curl, call `curl::handle_setheaders(handle, .list = azure_headers("storage"))` for each request, on
#' a handle made by `curl::new_handle(unrestricted_auth = FALSE)`: otherwise versions of curl before 5.2.1
#' send the token to any host that they are redirected to.
#'
#' @param resource The Azure service, as for [getDelegatedAzureToken()].
#' @param refresh `TRUE` to renew the token though the old one would do, for example after a resource
#'   has refused it.
#'
#' @inheritParams getDelegatedAzureToken
#'
#' @return `azure_token()`: the secret, one string. `azure_headers()`: a list with the one element
#'   `Authorization`. `azure_forget()`: `NULL`, invisibly.
#'
#' @section Errors:
#' Those of [getDelegatedAzureToken()]; see [entrar-errors].
#'
#' @examples
#' if (has_azure_session()) {
#'   headers <- c(Authorization = paste("Bearer", azure_token("graph")))
#'   print(azure_headers("graph"))
#'   azure_forget()
#' }
#'
#' \dontrun{
#' # SQL Server: the slash at the end of the resource is part of it.
#' DBI::dbConnect(
#'   odbc::odbc(),
#'   driver = "ODBC Driver 18 for SQL Server",
#'   server = "example.database.windows.net",
#'   database = "example",
#'   attributes = list(azure_token = azure_token("https://database.windows.net/"))
#' )
#' }
#' @export
azure_token <- function(resource, refresh = FALSE, session, identity = NULL) {
  # All that a hit takes: one look-up, which returns the string that it kept.
  if (isFALSE(refresh) && !missing(resource)) {
    kept <- kept_secret(resource)
    if (!is.null(kept)) {
      if (!is.null(visitors$developers)) {
        watch_visitors(session)
      }
      return(kept)
    }
  }
  call <- if (missing(session)) sys.call() else shown_call(sys.call())
  if (missing(resource)) {
    stop_bad_resource("it is missing", call)
  }
  if (!isTRUE(refresh) && !isFALSE(refresh)) {
    stop("`refresh` must be TRUE or FALSE.")
  }
  resource <- check_resource(resource, call)
  fresh_token(
    resource,
    refresh,
    call,
    token_subject(session, identity, resource, call)
  )$access_token
}

#' @rdname azure_token
#' @export
azure_headers <- function(resource, session, identity = NULL) {
  structure(
    list(
      Authorization = paste("Bearer", azure_token(resource, session = session, identity = identity))
    ),
    namespace = own_namespace,
    class = "entrar_headers"
  )
}

#' @rdname azure_token
#' @export
azure_forget <- function() {
  drop_tokens()
  invisible()
}

# A token that is kept or renewed, whole.
fresh_token <- function(resource, insist, call, subject = NULL) {
  check_subject(subject, call, resource)
  name <- kept_name(subject, resource)
  kept <- kept_token(name, insist)
  if (inherits(kept, "entrar_token")) {
    return(kept)
  }
  if (!is.null(kept)) {
    # Some of the time that the server asked to wait is over.
    kept$retry_after <- max(0, kept$until - as.numeric(Sys.time()))
    stop(new_failure(kept, resource, call))
  }

  sent <- as.numeric(Sys.time())
  reply <- request_token(resource, subject, call)
  if (is.null(reply$failure)) {
    token <- new_token(reply$token, resource, sent, subject$identity)
    if (may_be_kept(subject, token)) {
      keep_token(name, token, sent)
    }
    return(token)
  }
  failure <- reply$failure
  failure$until <- as.numeric(Sys.time()) + failure$retry_after
  old <- if (may_be_kept(subject)) {
    keep_failure(name, failure, failure$is_final, failure$retry_after, insist)
  }
  if (is.null(old)) {
    stop(new_failure(failure, resource, call))
  }
  if (old$first) {
    message <- failure_message(failure, resource)
    warning("The old token is used while it is valid. ", message, call. = FALSE)
  }
  old$token
}

#' @export
format.entrar_headers <- function(x, ...) {
  if (!length(x)) {
    return(character())
  }
  names <- if (is.null(names(x))) rep("", length(x)) else names(x)
  values <- vapply(unclass(x), toString, "")
  secret <- tolower(names) %in% "authorization" | grepl("^Bearer ", values, ignore.case = TRUE)
  paste0(names, ": ", ifelse(secret, paste("Bearer", redacted), values))
}

# Headers are added and taken out, and stay headers.
#' @export
`[.entrar_headers` <- function(x, i) {
  structure(unclass(x)[i], namespace = own_namespace, class = "entrar_headers")
}

#' @export
c.entrar_headers <- function(...) {
  headers <- do.call(c, lapply(list(...), unclass))
  structure(headers, namespace = own_namespace, class = "entrar_headers")
}

#' @export
print.entrar_headers <- function(x, ...) {
  writeLines(format(x, ...))
  invisible(x)
}

#' @export
str.entrar_headers <- function(object, ...) {
  cat("entrar_headers, ", toString(format(object)), "\n", sep = "")
}
