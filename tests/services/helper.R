# Services to spend tokens on: Azurite (see tests/azurite/run.py), and the demo's own Graph and Blob
# storage (`entrar demo`).

library(httr2, warn.conflicts = FALSE)

storage_resource <- "https://storage.azure.com"
graph_resource <- "https://graph.microsoft.com"

azurite <- Sys.getenv("AZURITE_BLOB")
demo_blob <- Sys.getenv("ENTRAR_DEMO_BLOB")
demo_graph <- Sys.getenv("ENTRAR_DEMO_GRAPH")

# A request to a Blob service. httr2 does not heed the variable by itself, as other clients do.
blob_request <- function(address, token) {
  request(address) |>
    req_options(cainfo = Sys.getenv("REQUESTS_CA_BUNDLE")) |>
    req_headers(`x-ms-version` = "2021-12-02") |>
    req_auth_bearer_token(token$access_token)
}

list_request <- function(address, token) {
  blob_request(address, token) |> req_url_query(comp = "list")
}

list_containers <- function(address, token) {
  listing <- resp_body_xml(req_perform(list_request(address, token)))
  xml2::xml_text(xml2::xml_find_all(listing, "//Container/Name"))
}

graph_request <- function(token) {
  request(paste0(demo_graph, "/v1.0/me")) |> req_auth_bearer_token(token$access_token)
}

# A new container in Azurite, for the rest of a test.
local_container <- function(frame = parent.frame()) {
  name <- paste0("r-", Sys.getpid(), "-", sample.int(1e6, 1))
  container <- function(method) {
    blob_request(paste0(azurite, "/", name), getDelegatedAzureToken(storage_resource)) |>
      req_url_query(restype = "container") |>
      req_method(method) |>
      req_perform()
  }
  container("PUT")
  withr::defer(container("DELETE"), frame)
  name
}

# The request fails with this status, for this reason, and nothing that R shows holds the token.
expect_refused <- function(request, token, status, why) {
  error <- tryCatch(req_perform(request), error = identity)
  expect_s3_class(error, paste0("httr2_http_", status))
  expect_match(conditionMessage(error), paste("HTTP", status))
  reply <- resp_body_string(error$resp)
  expect_match(reply, why, fixed = TRUE)
  shown <- shown_by({
    print(request)
    print(token)
    str(token)
    print(error)
    print(error$resp)
    req_dry_run(request)
    writeLines(c(conditionMessage(error), reply))
  })
  expect_true(any(grepl("Authorization.*<REDACTED>", shown)), label = "the header is redacted")
  expect_hidden(token, shown)
}

# All that the code prints: httr2 prints a request to stderr.
shown_by <- function(code) {
  errors <- capture.output(output <- capture.output(code), type = "message")
  c(output, errors)
}

# On failure it says no more than that.
expect_hidden <- function(token, shown) {
  expect_false(any(grepl(token$access_token, shown, fixed = TRUE)), label = "a token was shown")
}

# Where AzureStor is installed, as Workbench's documentation uses it: from CRAN alone, so not everywhere.
need_azure_stor <- function(frame = parent.frame()) {
  skip_if(!requireNamespace("AzureStor", quietly = TRUE), "AzureStor is not installed")
  httr::set_config(httr::config(cainfo = Sys.getenv("REQUESTS_CA_BUNDLE")))
  withr::defer(httr::reset_config(), frame)
}

# Azurite as AzureStor can tell that it is a Blob service: the account stands in the host's name, as in Azure.
azurite_host <- function() {
  sub("//127\\.0\\.0\\.1(:[0-9]+)/(.*)$", "//\\2.blob.localhost\\1", azurite)
}
