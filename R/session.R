# Whether there is a session, and the one kind of session that only R can reach.

#' Is there a session to get Azure tokens from?
#'
#' `TRUE` where [getDelegatedAzureToken()] has a server to ask and a cookie to ask it with, or runs in
#' an RStudio session of Posit Workbench, which needs neither, or where you have signed in yourself and your agent is
#' running, or on Posit Connect where there is a visitor, or where a hub runs on this machine, whether you are signed in to it or not. No token is asked for, so a `TRUE` does not promise that the server will grant one.
#'
#' @return `TRUE` or `FALSE`.
#' @examples
#' has_azure_session()
#' @export
has_azure_session <- function() {
  if (on_connect()) {
    return(has_connect_subject())
  }
  use_ide() || has_server_session()
}

# An RStudio session without the job launcher has no server address: the IDE's own function is the
# only way in.
use_ide <- function() {
  !is.null(ide_function()) && leaves_it_to_rstudio()
}

ide_function <- function() {
  if (!"tools:rstudio" %in% search()) {
    return(NULL)
  }
  get0(
    ".rs.api.getDelegatedAzureToken",
    envir = as.environment("tools:rstudio"),
    mode = "function",
    inherits = FALSE
  )
}

# In valid UTF-8, whatever bytes it holds.
readable <- function(text) {
  iconv(enc2utf8(text), "UTF-8", "UTF-8", sub = "?")
}

# The reply has the form of `delegated_token()`'s.
ask_ide <- function(resource) {
  sent <- as.numeric(Sys.time())
  token <- tryCatch(as.list(ide_function()(resource)), error = identity)
  if (inherits(token, "error")) {
    # The user's own time limit ends the call, which is not a failure of the IDE.
    if (is_time_limit(token)) {
      return(list(interrupt = token))
    }
    return(ide_failure(readable(paste(conditionMessage(token), collapse = " "))))
  }
  ide_token(resource, token, sent)
}

# R's time limits raise an error without a class of its own, in the language of the session.
is_time_limit <- function(error) {
  limits <- c(
    "reached elapsed time limit",
    "reached CPU time limit",
    "reached session elapsed time limit",
    "reached session CPU time limit"
  )
  any(conditionMessage(error) %in% c(limits, gettext(limits, domain = "R")))
}
