# Posit Connect, for the tests of packages that build on this one: what the demonstration of it is asked for, and its
# visitors.

emulated_connect_faults <- c(
  "key_expired",
  "visitor_refused",
  "content_refused",
  "no_refresh_token",
  "opaque_token",
  "listing_refused",
  "scopes_refused",
  "lifetime",
  "connect_errors",
  "old_errors",
  "rotated"
)

# The command line of `entrar demo`, as far as it is about Connect.
connect_arguments <- function(connect) {
  if (identical(connect, FALSE)) {
    return(character())
  }
  settings <- if (identical(connect, TRUE)) list() else connect
  known <- c("visitors", "viewer", "content", "faults", "path")
  is_known <- is.list(settings) &&
    length(names(settings)) == length(settings) &&
    all(names(settings) %in% known)
  if (!is_known || !all(vapply(settings, is_text, NA))) {
    stop(
      "`connect` must be `TRUE`, `FALSE`, or a list of texts with names among ",
      toString(known),
      ".",
      call. = FALSE
    )
  }
  each <- function(option, values) as.vector(rbind(rep(option, length(values)), values))
  c(
    "--connect",
    each("--visitor", settings$visitors),
    integration_arguments(settings),
    each("--connect-fault", connect_faults(settings$faults)),
    each("--connect-path", settings$path)
  )
}

is_text <- function(x) is.character(x) && !anyNA(x)

# Nothing attached has to be said: the command would attach what it does by default.
integration_arguments <- function(settings) {
  if (is.null(settings$viewer) && is.null(settings$content)) {
    return(character())
  }
  of <- function(resources) vapply(resources, check_resource, "", NULL, USE.NAMES = FALSE)
  content <- of(settings$content)
  integrations <- c(of(settings$viewer), sprintf("content:%s", content))
  paste0("--integration=", if (length(integrations)) integrations else "none")
}

# A fault without a name is for all visitors.
connect_faults <- function(faults) {
  if (!all(faults %in% emulated_connect_faults)) {
    stop(
      "`connect$faults` must be among ",
      toString(emulated_connect_faults),
      ".",
      call. = FALSE
    )
  }
  visitors <- if (is.null(names(faults))) rep("", length(faults)) else names(faults)
  paste0(ifelse(nzchar(visitors), paste0(visitors, "="), ""), faults)
}

# Lines of the demonstration that are no variables: session tokens, by the visitors' addresses.
session_tokens <- function(variables) {
  is_token <- startsWith(names(variables), "visitor ")
  tokens <- variables[is_token]
  stats::setNames(tokens, sub("visitor ", "", names(tokens), fixed = TRUE))
}

# What a visitor's requests carry. Environments, as Shiny's and plumber's own are: to print one shows no token.
visitor_request <- function(tokens) {
  force(tokens)
  function(visitor = NULL) {
    request <- new.env(parent = emptyenv())
    if (!is.null(visitor)) {
      if (!is.character(visitor) || length(visitor) != 1 || !visitor %in% names(tokens)) {
        stop("`visitor` must be one of ", toString(names(tokens)), ", or `NULL`.", call. = FALSE)
      }
      request$HTTP_POSIT_CONNECT_USER_SESSION_TOKEN <- tokens[[visitor]]
    }
    request
  }
}

# A Shiny session as far as whose it is and when it ends.
visitor_session <- function(request) {
  force(request)
  function(visitor = NULL) {
    session <- new.env()
    session$request <- request(visitor)
    session$token <- basename(tempfile(""))
    session$userData <- new.env()
    ended <- FALSE
    callbacks <- list()
    session$onSessionEnded <- function(callback) {
      id <- basename(tempfile(""))
      callbacks[[id]] <<- callback
      invisible(function() callbacks[[id]] <<- NULL)
    }
    session$onEnded <- session$onSessionEnded
    session$isEnded <- session$isClosed <- function() ended
    session$close <- function() {
      if (!ended) {
        ended <<- TRUE
        for (callback in callbacks) {
          callback()
        }
      }
      invisible()
    }
    structure(session, class = "ShinySession")
  }
}
