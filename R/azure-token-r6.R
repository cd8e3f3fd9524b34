# A delegated token in the form that the AzureR packages want: an R6 object of class AzureToken.

# The class has the fields and methods of AzureAuth's, as far as AzureRMR, AzureGraph, AzureKeyVault,
# AzureStor and Microsoft365R use them. AzureAuth itself is not needed.
new_azure_token <- function(token, subject = NULL) {
  if (is.null(azure_token_class$generator)) {
    azure_token_class$generator <- make_azure_token_class()
  }
  azure_token_class$generator$new(token, subject)
}

# Called before a token is asked for, so that none is asked for in vain.
need_r6 <- function() {
  if (!requireNamespace("R6", quietly = TRUE)) {
    stop(
      "`as = \"AzureToken\"` needs the R6 package. Install it with install.packages(\"R6\").",
      call. = FALSE
    )
  }
}

# R6 is only suggested, so the class is made when it is first needed.
azure_token_class <- new.env(parent = emptyenv())

# R6 puts `self` and `private` into its methods' environment, where R CMD check does not look.
utils::globalVariables(c("self", "private"))

# A saved login (see azure-logins.R) brings along its methods as they were when it was saved. So they only name the
# functions that do the work, and those are of the version of this package that loads it: keep them callable this way.
make_azure_token_class <- function() {
  R6::R6Class(
    "AzureToken",
    parent_env = own_namespace,
    # Printing an object of AzureRMR or AzureGraph looks at all of these.
    public = list(
      version = 1,
      resource = NULL,
      scope = NULL,
      aad_host = NULL,
      tenant = NULL,
      auth_type = "delegated",
      client = NULL,
      token_args = list(),
      authorize_args = list(),
      credentials = NULL,
      initialize = function(token, subject = NULL) {
        self$resource <- attr(token, "resource")
        private$subject <- subject
        if (may_be_kept(subject, token)) {
          keep_token(kept_name(subject, self$resource), token, attr(token, "sent"))
        }
        take_credentials(self, private, token)
      },
      cache = function() {
        save_login(self)
        invisible(NULL)
      },
      hash = function() hash_of_login(self, parent.frame()),
      validate = function() has_good_token(self, private),
      can_refresh = function() TRUE,
      refresh = function() {
        renew_credentials(self, private, sys.call())
        invisible(self)
      },
      print = function(...) {
        writeLines(azure_token_lines(self))
        invisible(self)
      }
    ),
    private = list(renew_at = -Inf, subject = NULL)
  )
}

# A login that was loaded has no token yet.
has_token <- function(self) is.character(self$credentials$access_token)

has_good_token <- function(self, private) {
  check_subject(private$subject, NULL, self$resource)
  has_token(self) && as.numeric(Sys.time()) < private$renew_at
}

take_credentials <- function(self, private, token) {
  expires_at <- token$expires_at
  private$renew_at <- renewal_time(attr(token, "sent"), expires_at)
  claims <- shown_claims(token$access_token)
  self$tenant <- if (is.na(claims$tenant)) unknown_tenant else claims$tenant
  # AzureRMR compares the app of one login with another's, and must find a string.
  self$client <- list(client_id = if (is.na(claims$app)) "" else claims$app)
  # AzureAuth's name for the expiry, and its form.
  if (!is.na(expires_at)) {
    token$expires_on <- format(expires_at, scientific = FALSE)
  }
  self$credentials <- token
}

# Entra ID's word for any tenant.
unknown_tenant <- "organizations"

# Whoever asks while the token is still good wants a new one. Once it is due, another object or
# `azure_token()` may have renewed it already, and while that fails the old one serves.
renew_credentials <- function(self, private, call) {
  token <- fresh_token(self$resource, has_good_token(self, private), call, private$subject)
  if (!has_token(self)) {
    check_tenant(self, token, call)
  }
  take_credentials(self, private, token)
}

azure_token_lines <- function(self) {
  credentials <- self$credentials
  claims <- identity_lines(shown_claims(credentials$access_token), self$resource)
  identity <- attr(credentials, "identity")
  lines <- c(
    resource = self$resource,
    identity = identity,
    claims["account"],
    tenant = self$tenant,
    claims["audience"],
    if (has_token(self)) {
      c(expires = format_expiry(credentials$expires_at), token = redacted)
    } else {
      c(token = "none yet, it is asked for when it is used")
    }
  )
  kind <- if (identical(identity, "content")) "of the content's own" else "delegated"
  c(sprintf("<AzureToken> %s, from entrar", kind), paste0("  ", labelled(lines[!is.na(lines)])))
}
