# Published content on Posit Connect: whom a token is for, so that no visitor ever gets another's.

#' Tokens on Posit Connect
#'
#' On Posit Connect the functions of this package get their tokens from the OAuth integrations that are attached to the
#' content, with the same call as in Posit Workbench. Nothing else is asked there, and [azure_sign_in()] refuses: one process
#' serves many people. None of this was tried at a Connect of Posit's, only at an emulated one.
#'
#' @section Whose token it is:
#' In a Shiny app the token is that of the *visitor* in whose session it is asked for. Where code has no session of its own, as
#' in `later::later()`, always pass it: `azure_token("graph", session = session)`. Otherwise there is an error, or, where another
#' session's code lets it run meanwhile, that visitor's token. In a plumber API pass the request: `session = req`.
#' Requests of [req_auth_azure()] and objects of class `AzureToken` stay bound to the visitor for whom they were made: to perform
#' the one, and `validate()` and `refresh()` of the other, are an error in another visitor's session, when the session has ended, and
#' where they were read back from a file. What is a plain string is bound to nobody: a token itself, the value of
#' [azure_headers()], an object's `credentials`. Tokens are kept by session, and dropped with it. Do not send a `session` to a
#' worker process: get the token first, and send that.
#'
#' A report, a start-up of an app and a job have no visitor, which is an error there. With `identity = "content"` the token is
#' the content's own: of an integration of the kind "Service Account". `options(entrar.connect_identity = "content")` says so
#' for a whole report; where a Shiny app runs it does not count, but it does in worker processes that have it set, as by
#' `.Rprofile`. A token prints which of the two it is.
#'
#' @section Which integration:
#' The one that is attached to the content and is for the resource. Where several could be meant, the error shows the option that
#' names one: `options(entrar.connect_integrations = c(storage = "GUID"))`. A token that says of itself that it is for another
#' resource is refused.
#'
#' @section Elsewhere:
#' In RStudio or on a laptop the same app runs with its developer's rights, for all its visitors: there is one warning when a
#' second visitor's session asks.
#'
#' @name entrar-connect
#' @aliases entrar.connect_identity entrar.connect_integrations
NULL

# `live`: by the ids of their handles, sessions of Shiny, and the session tokens of plumber's requests. `developers`: outside Connect, the sessions of Shiny that have
# asked; `NULL` before any has.
visitors <- new.env(parent = emptyenv())
visitors$live <- new.env(parent = emptyenv())
visitors$developers <- NULL
visitors$number <- 0

# Whom a token is to stand for; `NULL` outside Connect. It is a handle without a secret, which can be saved with what holds it:
# nobody is known by a copy. A `session` that was given counts though it is NULL: it may have been lost.
token_subject <- function(session, identity, resource, call) {
  check_identity(identity)
  if (!on_connect()) {
    watch_visitors(session)
    return(NULL)
  }
  if (identical(identity, "content")) {
    return(content_handle)
  }
  whose <- root_of(given_or_at_hand(session))
  if (!is.null(whose)) {
    return(visitor_handle(whose, resource, call))
  }
  if (missing(session) && is.null(identity) && means_content()) {
    return(content_handle)
  }
  stop_no_visitor("there is no visitor here whose token it could be", resource, call)
}

given_or_at_hand <- function(session) {
  if (missing(session) || is.null(session)) shiny_session() else session
}

check_identity <- function(identity) {
  if (!is.null(identity) && !identical(identity, "viewer") && !identical(identity, "content")) {
    stop("`identity` must be \"viewer\", \"content\" or NULL.", call. = FALSE)
  }
}

# A Shiny app that has lost sight of its session must not go on with the content's rights.
means_content <- function() {
  identical(getOption("entrar.connect_identity"), "content") && !shiny_runs()
}

# Also while an app is only being read, before it serves anybody.
shiny_runs <- function() {
  if (!isNamespaceLoaded("shiny")) {
    return(FALSE)
  }
  run_app <- getExportedValue("shiny", "runApp")
  is_run_app <- function(frame) identical(sys.function(frame), run_app)
  getExportedValue("shiny", "isRunning")() || any(vapply(seq_len(sys.nframe()), is_run_app, NA))
}

shiny_session <- function() {
  if (isNamespaceLoaded("shiny")) getExportedValue("shiny", "getDefaultReactiveDomain")()
}

# A module's session is a part of the visitor's.
root_of <- function(session) {
  if (is.environment(session) && is.function(session$rootScope)) session$rootScope() else session
}

handle <- function(id, identity) {
  list2env(list(id = id, identity = identity), parent = emptyenv())
}

content_handle <- handle("content", "content")

# No other handle has it, of this process or another.
new_id <- function() {
  visitors$number <- visitors$number + 1
  paste(Sys.getpid(), format(Sys.time(), "%s"), visitors$number, basename(tempfile("")))
}

is_shiny_session <- function(session) {
  is.environment(session) && is.function(session$onSessionEnded)
}

visitor_handle <- function(session, resource, call) {
  if (!is_shiny_session(session)) {
    here <- root_of(shiny_session())
    if (is.null(here)) {
      return(request_handle(session))
    }
    # A session's own request stands for the session, and for no longer.
    if (!identical(here$request, session)) {
      stop_no_visitor(
        "this is not the request of the visitor whose session this is",
        resource,
        call
      )
    }
    session <- here
  }
  for (id in ls(visitors$live, sorted = FALSE)) {
    if (identical(visitors$live[[id]]$session, session)) {
      return(visitors$live[[id]]$handle)
    }
  }
  if (has_ended(session)) {
    stop_no_visitor("the visitor's session has ended", resource, call)
  }
  made <- handle(new_id(), "viewer")
  visitors$live[[made$id]] <- list(handle = made, session = session)
  session$onSessionEnded(function() end_visitor(made$id))
  made
}

has_ended <- function(session) {
  tell <- if (is.function(session$isEnded)) session$isEnded else session$isClosed
  is.function(tell) && isTRUE(tell())
}

end_visitor <- function(id) {
  forget(id)()
  drop_tokens_of(paste0(id, "\r"))
}

# Made here, and not where a request is at hand, which it would keep.
forget <- function(id) {
  force(id)
  function(...) suppressWarnings(rm(list = id, envir = visitors$live))
}

# A request tells nobody when it is over: it is known for as long as it is there, and nothing is kept for it.
request_handle <- function(request) {
  if (!is.environment(request)) {
    stop(
      "`session` must be the session of a Shiny app or the request of a plumber API.",
      call. = FALSE
    )
  }
  made <- handle(new_id(), "viewer")
  token <- request[["HTTP_POSIT_CONNECT_USER_SESSION_TOKEN"]]
  visitors$live[[made$id]] <- list(handle = made, token = token)
  reg.finalizer(request, forget(made$id))
  made
}

# Whether a subject can still be asked for, and here.
check_subject <- function(subject, call, resource = NA_character_) {
  if (is.null(subject) || subject$identity == "content") {
    return(invisible())
  }
  known <- visitors$live[[subject$id]]
  if (!identical(known$handle, subject)) {
    stop_no_visitor("this was made for a visitor whose session has ended", resource, call)
  }
  here <- root_of(shiny_session())
  if (!is.null(known$session) && !is.null(here) && !identical(here, known$session)) {
    stop_no_visitor(
      "this was made for another visitor than the one whose session this is",
      resource,
      call
    )
  }
  invisible()
}

# The secret that stands for the visitor. A session's is read from it at each question.
session_token <- function(subject, resource, call) {
  check_subject(subject, call, resource)
  if (subject$identity == "content") {
    return(NULL)
  }
  known <- visitors$live[[subject$id]]
  token <- if (is.null(known$session)) {
    known$token
  } else {
    known$session$request[["HTTP_POSIT_CONNECT_USER_SESSION_TOKEN"]]
  }
  # Printable ASCII, as a header's value that stands for somebody is.
  is_token <- is.character(token) &&
    length(token) == 1 &&
    isTRUE(grepl("^[!-~]+$", token, useBytes = TRUE))
  if (!is_token) {
    failure <- list(
      kind = "sign_in_required",
      message = "the visitor is not signed in to Posit Connect, as it is with content that everybody may see",
      remedy = "Let only people with an account see the content: then each visitor has a token of their own."
    )
    stop(new_failure(failure, resource, call))
  }
  token
}

ask_connect <- function(resource, subject, call, timeout = call_timeout()) {
  token <- session_token(subject, resource, call)
  unless_interrupted(connect_token(resource, token, named_integration(resource), timeout))
}

# The GUID that the author has named for a resource.
named_integration <- function(resource) {
  given <- getOption("entrar.connect_integrations")
  if (is.null(given)) {
    return(NULL)
  }
  good <- is.character(given) && !anyNA(given) && length(names(given)) == length(given)
  if (!good) {
    stop(
      "The option `entrar.connect_integrations` must be GUIDs with names: c(storage = \"GUID\").",
      call. = FALSE
    )
  }
  without_slash <- function(address) sub("/$", "", address)
  resources <- vapply(names(given), function(name) without_slash(check_resource(name, NULL)), "")
  found <- which(resources == without_slash(resource))
  if (length(found)) given[[found[[1]]]]
}

# Under which name a token is kept: no resource holds this character.
kept_name <- function(subject, resource) {
  if (is.null(subject)) resource else paste0(subject$id, "\r", resource)
}

# Of a token that does not tell when it expires nobody knows whether it is still good.
may_be_kept <- function(subject, token = NULL) {
  if (is.null(subject)) {
    return(TRUE)
  }
  lasts <- subject$identity == "content" || !is.null(visitors$live[[subject$id]]$session)
  lasts && (is.null(token) || !is.na(token$expires_at))
}

has_connect_subject <- function() {
  is_asked <- function() {
    subject <- token_subject(identity = NULL, resource = NA_character_, call = NULL)
    session_token(subject, NA_character_, NULL)
    TRUE
  }
  is.null(connect_fault()) && tryCatch(is_asked(), entrar_error = function(e) FALSE)
}

stop_no_visitor <- function(what, resource, call) {
  failure <- list(kind = "no_session", message = what, remedy = connect_remedy("no_session"))
  stop(new_failure(failure, resource, call))
}

# The user's call, as a condition has it: with its first argument only, since a session may show a secret, and holds one.
shown_call <- function(call) {
  named <- which(names(call) == "session")
  call[utils::head(setdiff(seq_along(call), named), 2)]
}

# Outside Connect an app runs with its developer's rights, which nobody notices before a second visitor is there.
watch_visitors <- function(session) {
  given <- if (!missing(session)) session
  session <- root_of(if (is_shiny_session(given)) given else shiny_session())
  if (!is_shiny_session(session)) {
    return(invisible())
  }
  is_known <- any(vapply(visitors$developers, identical, NA, session))
  if (!is_known) {
    visitors$developers <- c(visitors$developers, list(session))
    session$onSessionEnded(function() {
      is_it <- vapply(visitors$developers, identical, NA, session)
      visitors$developers <- visitors$developers[!is_it]
    })
  }
  if (length(visitors$developers) > 1 && is.null(warned$developer)) {
    warned$developer <- TRUE
    warning(
      "Several people use this app, and all of them get tokens of the one who runs it, with that person's rights. ",
      "On Posit Connect each visitor gets their own.",
      call. = FALSE
    )
  }
  invisible()
}
