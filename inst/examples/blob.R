# The containers of a storage account: with AzureStor where it is installed, else with httr2 and xml2.
#
# Run it in a session of Posit Workbench, or in one of `entrar demo` (see ?entrar::entrar): entrar demo -- Rscript blob.R
# Outside the demo, name your account: Rscript blob.R https://example.blob.core.windows.net

library(entrar)

arguments <- commandArgs(trailingOnly = TRUE)
account <- if (length(arguments)) arguments[[1]] else Sys.getenv("ENTRAR_DEMO_BLOB")
if (!nzchar(account)) {
  stop("Name a storage account: https://example.blob.core.windows.net")
}

containers <- if (requireNamespace("AzureStor", quietly = TRUE)) {
  token <- getDelegatedAzureToken("https://storage.azure.com", as = "AzureToken")
  # AzureStor warns of a host that is not Azure's.
  endpoint <- suppressWarnings(AzureStor::blob_endpoint(account, token = token))
  names(AzureStor::list_blob_containers(endpoint))
} else {
  listing <- httr2::request(account) |>
    httr2::req_url_query(comp = "list") |>
    httr2::req_headers("x-ms-version" = "2023-11-03") |>
    req_auth_azure("https://storage.azure.com") |>
    httr2::req_perform() |>
    httr2::resp_body_xml()
  xml2::xml_text(xml2::xml_find_all(listing, "//Container/Name"))
}
cat("Containers in", account, "are", toString(containers), "\n")
