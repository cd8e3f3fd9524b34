# The token as a list that does not show its secrets.

redacted <- "<REDACTED>"

# An object that carries it loads this package wherever it is read back, so that it does not show its secrets there. (It
# cannot be read back from what dput() wrote, which nobody should write.)
own_namespace <- topenv()

# `sent` is when it was asked for, in Unix seconds; `identity` says on Posit Connect whether it is the viewer's or the content's.
new_token <- function(fields, resource, sent, identity = NULL) {
  attr(fields, "resource") <- resource
  attr(fields, "sent") <- sent
  attr(fields, "identity") <- identity
  attr(fields, "namespace") <- own_namespace
  class(fields) <- "entrar_token"
  fields
}

# What a token tells of itself, fit to be shown, `NA` where it does not: nobody has verified its signature, so that
# it may tell anything, with characters that make a line read as something else.
shown_claims <- function(access_token) {
  lapply(token_claims(access_token), function(claim) {
    if (is.na(claim)) claim else clipped(gsub("[\\p{C}\\p{Zl}\\p{Zp}]", "", claim, perl = TRUE))
  })
}

# The same as lines, without those that are not known. The audience is one if it is not the `resource`, for which some
# services have a GUID.
identity_lines <- function(claims, resource) {
  without_slash <- function(address) sub("/$", "", address)
  if (identical(without_slash(claims$audience), without_slash(resource))) {
    claims$audience <- NA_character_
  }
  lines <- unlist(claims[c("account", "tenant", "audience")])
  lines[!is.na(lines) & nzchar(lines)]
}

#' @export
format.entrar_token <- function(x, ...) {
  fields <- unclass(x)
  resource <- attr(x, "resource")
  lines <- c(
    resource = resource,
    identity = attr(x, "identity"),
    identity_lines(shown_claims(fields[["access_token"]]), resource),
    expires = if (!is.null(fields[["expires_at"]])) format_expiry(fields[["expires_at"]]),
    scope = fields[["scope"]],
    access_token = if (!is.null(fields[["access_token"]])) redacted,
    id_token = if (!is.null(fields[["id_token"]])) redacted
  )
  lines <- lines[!is.na(lines)]
  c("<entrar_token>", labelled(lines))
}

# Each line behind its name.
labelled <- function(lines) {
  paste0(format(paste0(names(lines), ":")), " ", lines)
}

#' @export
print.entrar_token <- function(x, ...) {
  writeLines(format(x, ...))
  invisible(x)
}

# A token with more fields is still one that hides its secrets. The arguments have the names of base R's.
# nolint start: object_name_linter.
#' @export
c.entrar_token <- function(..., recursive = FALSE, use.names = TRUE) {
  parts <- list(...)
  fields <- lapply(parts, function(part) {
    if (inherits(part, "entrar_token")) {
      attributes(part) <- attributes(part)["names"]
    }
    part
  })
  first <- parts[[1]]
  new_token(
    do.call(c, fields),
    attr(first, "resource"),
    attr(first, "sent"),
    attr(first, "identity")
  )
}
# nolint end

# So is a part of a token.
#' @export
`[.entrar_token` <- function(x, i) {
  new_token(unclass(x)[i], attr(x, "resource"), attr(x, "sent"), attr(x, "identity"))
}

# R would take `token$token` for `token_type`.
#' @export
`$.entrar_token` <- function(x, name) {
  .subset2(x, name)
}

#' @export
#' @importFrom utils str
str.entrar_token <- function(object, ...) {
  fields <- lapply(unclass(object), identity)
  for (secret in intersect(c("access_token", "id_token"), names(fields))) {
    fields[[secret]] <- redacted
  }
  cat("entrar_token, ")
  str(fields, ...)
}

format_time <- function(seconds) {
  format(as.POSIXct(seconds, origin = "1970-01-01"), "%Y-%m-%d %H:%M:%S %Z")
}

format_expiry <- function(expires_at) {
  # Somebody may have made a date of it.
  expires_at <- suppressWarnings(as.numeric(expires_at))[1]
  if (is.na(expires_at)) {
    return("not known")
  }
  minutes <- (expires_at - as.numeric(Sys.time())) / 60
  when <- format_time(expires_at)
  if (minutes <= 0) {
    return(sprintf("%s (has expired)", when))
  }
  sprintf("%s (in %.0f minutes)", when, minutes)
}
