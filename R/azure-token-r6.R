# A delegated token in the form that the AzureR packages want: an R6 object of class AzureToken.

# The class has the fields and methods of AzureAuth's, as far as AzureRMR, AzureGraph, AzureKeyVault,
# AzureStor and Microsoft365R use them. AzureAuth itself is not needed.
new_azure_token <- function(token) {
  if (is.null(azure_token_class$generator)) {
    azure_token_class$generator <- make_azure_token_class()
  }
  azure_token_class$generator$new(token)
}

# To be called before a token is asked for, which would go to waste.
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

make_azure_token_class <- function() {
  R6::R6Class(
    "AzureToken",
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
      initialize = function(token) {
        self$resource <- attr(token, "resource")
        keep_token(self$resource, token, attr(token, "sent"))
        private$take(token)
      },
      # Tokens are not written to disk.
      cache = function() invisible(NULL),
      hash = function() paste0("entrar-delegated-", gsub("[^A-Za-z0-9._-]+", "-", self$resource)),
      validate = function() {
        as.numeric(Sys.time()) < private$renew_at
      },
      can_refresh = function() TRUE,
      # Whoever asks while the token is still good wants a new one. Once it is due, another object or
      # `azure_token()` may have renewed it already, and while that fails the old one serves.
      refresh = function() {
        private$take(fresh_token(self$resource, self$validate(), sys.call()))
        invisible(self)
      },
      print = function(...) {
        writeLines(c(
          "<AzureToken> delegated, from entrar",
          paste("  resource:", self$resource),
          paste("  tenant:  ", self$tenant),
          paste("  expires: ", format_expiry(self$credentials$expires_at)),
          paste("  token:   ", redacted)
        ))
        invisible(self)
      }
    ),
    private = list(
      renew_at = -Inf,
      take = function(token) {
        expires_at <- token$expires_at
        private$renew_at <- renewal_time(attr(token, "sent"), expires_at)
        tenant <- shown_claims(token$access_token)$tenant
        self$tenant <- if (is.na(tenant)) "organizations" else tenant
        # AzureAuth's name for the expiry, and its form.
        if (!is.na(expires_at)) {
          token$expires_on <- format(expires_at, scientific = FALSE)
        }
        self$credentials <- token
      }
    )
  )
}
