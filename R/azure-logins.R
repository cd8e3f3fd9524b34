# What AzureRMR's and AzureGraph's lists of logins refer to: a file for each login, made of an AzureToken object without
# its token.

# `AzureRMR::create_azure_login(token = )` and `AzureGraph::create_graph_login(token = )` write the object's hash into
# their lists, and read all objects of a list back from AzureAuth's directory, by `readRDS()`. If one has no file, none is
# listed. AzureAuth's own objects have theirs from the start; these get it where one of the two packages asks for the hash.
login_packages <- c("AzureRMR", "AzureGraph")

# Printing asks for the hash as well, from AzureAuth's code: that saves nothing.
hash_of_login <- function(self, caller) {
  if (any(utils::packageName(caller) %in% login_packages)) {
    save_login(self)
  }
  login_hash(self)
}

# In the form by which `AzureAuth::list_azure_tokens()` knows its files. The same login is the same file.
login_hash <- function(self) {
  file <- tempfile("login-")
  on.exit(unlink(file))
  writeLines(c("entrar", self$resource, self$tenant), file, useBytes = TRUE)
  unname(tools::md5sum(file))
}

# AzureAuth asks the user before it makes its directory, and saves nothing without it. A directory that is missing is
# therefore not made here.
save_login <- function(self) {
  directory <- login_directory()
  # On Connect a login would be whoever's came last.
  if (!dir.exists(directory) || on_connect()) {
    return(invisible())
  }
  login <- self$clone()
  login$credentials <- list()
  file <- tempfile("entrar-", directory)
  umask <- Sys.umask("077")
  on.exit({
    Sys.umask(umask)
    unlink(file)
  })
  saveRDS(login, file)
  # Renamed into its place, so that nobody reads half of it.
  if (!file.rename(file, file.path(directory, login_hash(self)))) {
    stop("The login could not be saved in ", directory, ".", call. = FALSE)
  }
}

# The directory that AzureAuth chooses, also where AzureAuth is not installed.
login_directory <- function() {
  named <- Sys.getenv("R_AZURE_DATA_DIR")
  if (!nzchar(named) && isNamespaceLoaded("AzureAuth")) {
    return(getExportedValue("AzureAuth", "AzureR_dir")())
  }
  named
}

# A login is listed under its tenant, but whoever loads it may be signed in to another one.
check_tenant <- function(self, token, call) {
  tenant <- shown_claims(token$access_token)$tenant
  if (!is.na(tenant) && !self$tenant %in% c(tenant, unknown_tenant)) {
    message <- "this login is of tenant %s, but you are signed in to tenant %s"
    failure <- list(kind = "sign_in_required", message = sprintf(message, self$tenant, tenant))
    stop(new_failure(failure, self$resource, call))
  }
}
