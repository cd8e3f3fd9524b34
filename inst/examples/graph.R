# Who you are, from Microsoft Graph. Needs httr2.
#
# Run it in a session of Posit Workbench, or in one of `entrar demo` (see ?entrar::entrar): entrar demo -- Rscript graph.R

library(entrar)
library(httr2)

graph <- Sys.getenv("ENTRAR_DEMO_GRAPH", "https://graph.microsoft.com")

me <- request(graph) |>
  req_url_path("/v1.0/me") |>
  req_auth_azure("https://graph.microsoft.com") |>
  req_perform() |>
  resp_body_json()
cat("Graph says you are", me$displayName, "\n")
