# A token for each service of the Workbench page, and two calls that spend one.
#
# Run it in a session of Posit Workbench, or in one of `entrar demo` (see ?entrar::entrar): entrar demo -- Rscript services.R

library(entrar)

services <- c(
  "Azure Storage" = "https://storage.azure.com",
  "Azure Key Vault" = "https://vault.azure.net",
  "Azure SQL" = "https://database.windows.net/",
  "Azure Management" = "https://management.azure.com",
  "Microsoft Graph" = "https://graph.microsoft.com"
)

tokens <- lapply(services, getDelegatedAzureToken)

expires_at <- vapply(tokens, function(token) token$expires_at, numeric(1))
print(
  data.frame(
    resource = services,
    expires = format(as.POSIXct(expires_at, origin = "1970-01-01"), "%H:%M:%S %Z"),
    minutes = round((expires_at - as.numeric(Sys.time())) / 60)
  ),
  right = FALSE
)

# Base R is enough; with httr2 it is request() |> req_auth_bearer_token() |> req_perform().
get_with <- function(address, token) {
  connection <- url(address, headers = c(Authorization = paste("Bearer", token$access_token)))
  on.exit(close(connection))
  paste(readLines(connection, warn = FALSE), collapse = "\n")
}

graph <- Sys.getenv("ENTRAR_DEMO_GRAPH", "https://graph.microsoft.com")
me <- get_with(paste0(graph, "/v1.0/me"), tokens[["Microsoft Graph"]])
cat("\nGraph says you are", sub('.*"displayName" *: *"([^"]*)".*', "\\1", me), "\n")

blob <- Sys.getenv("ENTRAR_DEMO_BLOB")
if (nzchar(blob)) {
  listing <- get_with(paste0(blob, "?comp=list"), tokens[["Azure Storage"]])
  names <- regmatches(listing, gregexpr("(?<=<Name>)[^<]*", listing, perl = TRUE))[[1]]
  cat("Containers in", blob, "are", toString(names), "\n")
}
