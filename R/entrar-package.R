# The package's own help page, and its shared library.

#' entrar: delegated Microsoft Entra ID tokens for Azure
#'
#' [getDelegatedAzureToken()] gets an access token that stands for the signed-in person;
#' [has_azure_session()] tells whether there is a session to get one from, [azure_sitrep()] what stands in
#' the way. What can go wrong is listed in [entrar-errors], what can be set in [entrar-options].
#' `browseVignettes("entrar")` lists the articles, if the package was installed from a tarball that `R CMD build` made.
#'
#' @section Without Workbench:
#' [azure_sign_in()] signs you in to a tenant where Workbench has not: on a laptop, RStudio Server, a login node, in a
#' container. `vignette("sign-in", "entrar")` says what that needs.
#'
#' To try things out without a tenant: the command `entrar`, installed with the package, runs a program in a session of a made-up person in an emulated
#' tenant; in a shell:
#'
#' ```sh
#' "$(Rscript -e 'cat(system.file("bin", "entrar", package = "entrar"))')" demo -- R
#' ```
#'
#' Its tokens are good for the tenant's own small Microsoft Graph, Blob storage and Key Vault, whose addresses are in
#' `ENTRAR_DEMO_GRAPH`, `ENTRAR_DEMO_BLOB` and `ENTRAR_DEMO_VAULT`; `entrar demo --help` tells more. For
#' the tests of a package there is [with_emulated_azure()].
#'
#' @keywords internal
#' @useDynLib entrar, .registration = TRUE
"_PACKAGE"

# extendr makes its table of R's objects together with the first of them. If R ran out of memory in the middle of that,
# each later call would wait for ever: so it is made now, and only if there is more memory than it takes.
.onLoad <- function(libname, pkgname) {
  vector("list", 2e5)
  failure_kinds()
  prepare_interrupts()
}
