# The facts that azure_sitrep() reports.

sitrep_timeout <- function() {
  tryCatch(
    list(seconds = call_timeout(), fault = NA_character_),
    error = function(e) list(seconds = default_timeout, fault = conditionMessage(e))
  )
}

sitrep_place <- function(session) {
  # There tokens are not those of a session.
  failure <- if (session$place == "connect") connect_fault() else session$no_session
  list(
    name = session$place,
    found = session$found,
    failure = sitrep_failure(failure)
  )
}

# Which of Connect's variables are set; `NULL` elsewhere. Their values hold secrets.
sitrep_connect <- function(place) {
  names <- c(
    "CONNECT_SERVER",
    "CONNECT_API_KEY",
    "CONNECT_CONTENT_GUID",
    "CONNECT_CONTENT_SESSION_TOKEN_FILE",
    "CONNECT_CONTENT_SESSION_TOKEN"
  )
  if (place$name == "connect") {
    stats::setNames(nzchar(Sys.getenv(names)), names)
  }
}

# The reply of whoever is asked here, with the warnings of no call.
sitrep_ask <- function(resource, timeout) {
  if (!on_connect()) {
    return(ask_for_token(resource, timeout))
  }
  no_visitor <- function(condition) list(condition = condition)
  tryCatch(
    {
      subject <- token_subject(identity = NULL, resource = resource, call = NULL)
      ask_connect(resource, subject, NULL, timeout)
    },
    entrar_error = no_visitor
  )
}

sitrep_server <- function(session, probe) {
  answer <- probe$answer
  if (is.null(answer)) {
    answer <- list(status = NA_integer_, milliseconds = NA_real_)
  }
  list(
    address = session$address,
    in_clear = if (is.null(session$way)) NA else session$way$in_clear,
    version = session$version,
    version_failure = sitrep_failure(session$version_failure),
    reachable = if (is.null(probe)) NA else !is.null(probe$answer),
    status = answer$status,
    milliseconds = answer$milliseconds,
    failure = sitrep_failure(if (is.null(probe)) session$address_failure else probe$failure)
  )
}

sitrep_bundle <- function(bundle) {
  if (!is.null(bundle)) {
    bundle["failure"] <- list(sitrep_failure(bundle$failure))
  }
  bundle
}

sitrep_proxy <- function(proxy) {
  if (!is.null(proxy)) {
    proxy["failure"] <- list(sitrep_failure(proxy$failure))
  }
  proxy
}

# As whom a hub knows this process.
sitrep_hub <- function(place, timeout) {
  if (place$name != "hub" || !has_hub()) {
    return(NULL)
  }
  reply <- unless_interrupted(hub_request("me", list(), timeout))
  me <- reply$answer
  account <- new_account(me$account)
  known <- function(text) if (is.null(text)) NA_character_ else text
  list(
    user = known(me$user),
    machine = known(me$machine),
    page = known(me$page),
    account = if (is.null(account)) NA_character_ else account_name(account),
    tenant = known(account$tenant),
    since = if (is.null(account)) NA_real_ else as.numeric(account$since),
    failure = sitrep_failure(reply$failure)
  )
}

# Why no token would come whatever is asked for. The IDE's function needs neither version nor cookie, and Connect no session.
sitrep_obstacle <- function(place, server, cookie_failure) {
  needed <- list(place$failure, server$failure, server$version_failure, cookie_failure)
  if (place$name == "connect") {
    needed <- list(place$failure)
  }
  failures <- if (place$name != "ide") Filter(Negate(is.null), needed)
  if (length(failures)) failures[[1]]
}

# Whether there is a token for a resource. The `obstacle`, a failure, keeps us from asking.
sitrep_resource <- function(asked, timeout, obstacle) {
  sent <- as.numeric(Sys.time())
  # A text of a broken encoding cannot be printed.
  shown <- readable(asked)
  resource <- tryCatch(check_resource(asked, NULL), entrar_error = identity)
  known <- is.character(resource)
  failure <- NULL
  token <- NULL
  if (!known) {
    failure <- sitrep_fields(resource)
  } else if (!is.null(obstacle)) {
    failure <- obstacle
  } else {
    reply <- sitrep_ask(resource, timeout)
    token <- reply$token
    failure <- if (is.null(reply$condition)) {
      sitrep_failure(reply$failure, resource)
    } else {
      sitrep_fields(reply$condition)
    }
  }
  granted <- !is.null(token)
  claims <- shown_claims(token$access_token)
  list(
    asked = if (known || identical(repeatable(shown), shown)) {
      shown
    } else {
      "a text that is not repeated"
    },
    resource = if (known) resource else NA_character_,
    was_asked = known && is.null(obstacle),
    granted = granted,
    scopes = if (granted && !is.na(token$scope)) strsplit(token$scope, " +")[[1]] else character(),
    expires_at = if (granted) token$expires_at else NA_real_,
    lifetime = if (granted) token$expires_at - floor(sent) else NA_real_,
    account = claims$account,
    tenant = claims$tenant,
    audience = claims$audience,
    failure = failure
  )
}

# What an error would say and have.
sitrep_failure <- function(failure, resource = NA_character_) {
  if (!is.null(failure)) {
    sitrep_fields(new_failure(failure, resource, NULL))
  }
}

sitrep_fields <- function(condition) {
  fields <- unclass(condition)
  fields[setdiff(names(fields), "call")]
}
