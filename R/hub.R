# Signing in and out at this machine's hub.

# The account that is signed in then.
sign_in_at_hub <- function(anew, call) {
  me <- ask_hub("me", list(), call)
  if (!is.null(me$account) && !anew) {
    account <- new_account(me$account)
    message(
      sprintf("%s is signed in already, for the user %s. ", account_name(account), me$user),
      "azure_sign_in(replace = TRUE) signs in anew."
    )
    leave_agent()
    return(account)
  }
  check_can_type(me$binding == "paired", call)
  attempt <- ask_hub("begin", list(), call)
  signed_in <- FALSE
  on.exit(if (!signed_in) cancel_at_hub(attempt$id))
  check_can_type(attempt$pairs, call)
  progress <- hub_progress(attempt, call)
  signed_in <- TRUE
  azure_forget()
  leave_agent()
  account <- new_account(progress$account)
  note_hubs_account(account$tenant, account$object_id)
  message("Signed in as ", account_name(account), ".")
  account
}

# The account that was signed in.
sign_out_at_hub <- function(call) {
  done <- ask_hub("sign_out", list(), call)
  account <- new_account(done$account)
  azure_forget()
  drop_hubs_cookie()
  unset_session("hub")
  if (is.null(account)) {
    message("Nobody was signed in.")
  } else {
    message(
      sprintf("%s is signed out, in every session of the hub.\n", account_name(account)),
      what_outlives_a_sign_out,
      holds_everywhere(done$holds_at)
    )
  }
  account
}

# Hubs that share a database go on from memory for a while where they cannot reach it.
holds_everywhere <- function(at) {
  if (!is.null(at)) {
    time <- as.POSIXct(at, origin = "1970-01-01")
    format(time, "\nEvery server of the hub holds to it by %H:%M:%S.")
  }
}

# What is left of an agent that was killed would be found before the hub.
leave_agent <- function() {
  if (!has_agent()) {
    remove_dead_agent()
  }
}

check_can_type <- function(pairs, call) {
  if (pairs && !can_ask()) {
    failure <- list(
      kind = "sign_in_required",
      message = "the hub's page ends with a code to type into R, and nobody can be asked for it in a script",
      remedy = "Call azure_sign_in() in an interactive R session; scripts then have tokens too."
    )
    stop(sign_in_failure(failure, call))
  }
}

# Shows the page, and waits until the person is signed in.
hub_progress <- function(attempt, call) {
  until <- format(as.POSIXct(attempt$expires_at, origin = "1970-01-01"), "%H:%M")
  opens <- opens_browser()
  message(
    if (opens) {
      "The hub's page opens in your browser to sign you in"
    } else {
      "Open the hub's page in any browser to sign in"
    },
    ":\n\n    ",
    attempt$address,
    "\n\nWaiting until ",
    until,
    "; Ctrl-C ends it.",
    if (attempt$pairs) " The page ends with a code to type here."
  )
  if (opens) {
    utils::browseURL(attempt$address)
  }
  repeat {
    progress <- ask_hub("wait", list(id = attempt$id, seconds = 20), call, timeout = 60)
    if (identical(progress$state, "code_wanted")) {
      progress <- pairing_progress(attempt, call)
    }
    if (identical(progress$state, "signed_in")) {
      return(progress)
    }
  }
}

# Hands in the code that the page shows, until it is the right one.
pairing_progress <- function(attempt, call) {
  check_can_type(TRUE, call)
  message("Type the code that the page shows, and none that somebody has told you.")
  repeat {
    code <- trimws(read_answer("Code (nothing ends it): "))
    if (!nzchar(code)) {
      failure <- list(
        kind = "sign_in_required",
        message = "no code was typed",
        remedy = "Call azure_sign_in() again when you have the time."
      )
      stop(sign_in_failure(failure, call))
    }
    progress <- ask_hub("pair", list(id = attempt$id, code = enc2utf8(code)), call)
    if (!identical(progress$state, "code_wanted")) {
      return(progress)
    }
    left <- progress$tries_left
    message(sprintf(
      "That is not the code; %.0f %s left.",
      left,
      if (left == 1) "try is" else "tries are"
    ))
  }
}

# Asks, and raises what went wrong as a failure to sign in.
ask_hub <- function(name, parameters, call, timeout = call_timeout()) {
  answered(hub_request(name, parameters, timeout), call)
}

# Whatever ended the attempt here, the hub is not to wait for it. It may be gone itself.
cancel_at_hub <- function(id) {
  try(hub_request("cancel", list(id = id), 2), silent = TRUE)
}
