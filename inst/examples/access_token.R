# A token for Azure Storage: what it tells, and what it does not show.
#
# Run it in a session of Posit Workbench, or in one of `entrar demo` (see ?entrar::entrar): entrar demo -- Rscript access_token.R

library(entrar)

token <- getDelegatedAzureToken("https://storage.azure.com")
print(token)

expires_at <- as.POSIXct(token$expires_at, origin = "1970-01-01")
cat("It expires at", format(expires_at), "and has", nchar(token$access_token), "characters.\n")
