# The well-known resources by name.

#' Well-known Azure resources
#'
#' Every function of this package that takes a resource takes one of these names as well, for the public
#' cloud: `azure_token("storage")`. For another cloud, pass the resource itself:
#' `azure_token(azure_resources("usgov")[["graph"]])`.
#'
#' @param cloud `"public"`, `"usgov"` (Azure Government) or `"china"` (Azure operated by 21Vianet).
#'
#' @return A named character vector: a name and the resource it stands for.
#' @source Microsoft's documentation of each service and of the national clouds.
#' @examples
#' azure_resources()
#' azure_resources("usgov")[["graph"]]
#' @export
azure_resources <- function(cloud = c("public", "usgov", "china")) {
  cloud <- match.arg(cloud)
  known <- well_known_resources()
  here <- known$cloud == cloud
  stats::setNames(known$resource[here], known$name[here])
}
