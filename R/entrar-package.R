# The package's own help page, and its shared library.

#' entrar: delegated Microsoft Entra ID tokens for Azure
#'
#' [getDelegatedAzureToken()] gets an access token that stands for the signed-in person;
#' [has_azure_session()] tells whether there is a session to get one from, [azure_sitrep()] what stands in
#' the way. What can go wrong is listed in [entrar-errors], what can be set in [entrar-options].
#' `browseVignettes("entrar")` lists the articles.
#'
#' @keywords internal
#' @useDynLib entrar, .registration = TRUE
"_PACKAGE"
