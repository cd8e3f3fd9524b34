# How the content here gets its tokens: by entrar, once it knows Connect. Before that by a stand-in, which does what is
# documented of Connect and nothing else: it goes when entrar's functions take `session` and `identity`.

if ("session" %in% names(formals(entrar::azure_token))) {
  azure_token <- entrar::azure_token
} else {
  azure_token <- function(
    resource,
    session = if (isNamespaceLoaded("shiny")) shiny::getDefaultReactiveDomain(),
    identity = "viewer"
  ) {
    guid <- integration_of(resource, if (identity == "content") "Service Account" else "Viewer")
    if (identity == "content") {
      file <- Sys.getenv("CONNECT_CONTENT_SESSION_TOKEN_FILE")
      return(exchange("content", readLines(file, warn = FALSE), guid))
    }
    # plumber's `req` is the request itself.
    request <- if (inherits(session, "ShinySession")) session$request else session
    token <- request$HTTP_POSIT_CONNECT_USER_SESSION_TOKEN
    if (is.null(token)) {
      refuse("no_session")
    }
    exchange("user", token, guid)
  }

  refuse <- function(kind) {
    class <- c(paste0("entrar_error_", kind), "entrar_error", "error", "condition")
    stop(structure(class = class, list(message = kind, call = NULL, kind = kind)))
  }

  ask <- function(path, ...) {
    handle <- curl::new_handle(...)
    curl::handle_setheaders(handle, Authorization = paste("Key", Sys.getenv("CONNECT_API_KEY")))
    address <- paste0(Sys.getenv("CONNECT_SERVER"), "__api__/v1/", path)
    reply <- curl::curl_fetch_memory(address, handle)
    if (reply$status_code != 200) {
      refuse("server_error")
    }
    jsonlite::fromJSON(rawToChar(reply$content))
  }

  integration_of <- function(resource, auth_type) {
    content <- Sys.getenv("CONNECT_CONTENT_GUID")
    all <- ask(paste0("content/", content, "/oauth/integrations/associations"))
    name <- paste0(auth_type, ": ", c(graph = "graph.microsoft.com", storage = "storage.azure.com"))
    names(name) <- c("graph", "storage")
    all$oauth_integration_guid[all$oauth_integration_name == name[[resource]]]
  }

  exchange <- function(kind, token, guid) {
    fields <- c(
      grant_type = "urn:ietf:params:oauth:grant-type:token-exchange",
      subject_token_type = sprintf("urn:posit:connect:%s-session-token", kind),
      subject_token = token,
      audience = guid
    )
    values <- vapply(fields, utils::URLencode, "", reserved = TRUE)
    form <- paste0(names(fields), "=", values, collapse = "&")
    ask("oauth/integrations/credentials", postfields = form)$access_token
  }
}
