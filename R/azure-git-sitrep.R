# How git and its credential helper for Azure DevOps fare: a report.

#' Report on git's set-up for Azure DevOps
#'
#' Looks at everything that has to be right for `git clone https://dev.azure.com/...`: whether the helper is
#' configured, whether another helper stands before or after it, what makes git go past every helper, whether a token
#' would come, and whether it is of the tenant that the organisation belongs to.
#'
#' It asks the helper itself for a token, as git would, and throws it away; on Linux that may be one that the helper has
#' kept from an earlier command. The organisation's tenant is
#' what Azure DevOps answers to a request without a token, which git makes with its own proxy and
#' certificates. Nothing of a remote's address is shown but the organisation.
#'
#' @param organization The organisation's name. If it is `NULL`, the remote `origin` of the repository in the
#'   working directory is looked at.
#'
#' @return A list of class `azure_git_sitrep`, `NA` where something is not known:
#'   * `git`: git's version. `helper`: the helper's path.
#'   * `configured`: whether git asks the helper for Azure DevOps. `origin`: the file that says so.
#'   * `gone`: helpers of this name that git is told to ask and that are no longer there, as after an upgrade of R.
#'   * `before`, `after`: other helpers that git asks before it, or tells after it.
#'   * `bypassed`: sentences on what makes git ask no helper, or send something else: a password or token in a remote's
#'     address, a header of its own, SSH. Of the remotes of the repository in the working directory.
#'   * `token`: whether a token comes. `expires`: when it would expire. `reason`: why none comes.
#'   * `organization`, `tenant`, `token_tenant`: the organisation, its tenant, and the token's.
#'   * `tenant_matches`: whether both tenants are the same.
#' @examples
#' azure_git_sitrep()
#' @export
azure_git_sitrep <- function(organization = NULL) {
  remotes <- git_remotes()
  organization <- if (is.null(organization)) {
    origin_organization(remotes)
  } else {
    check_name(organization)
  }
  challenge <- challenge_of(organization)
  structure(
    class = "azure_git_sitrep",
    c(
      git_set_up(organization),
      list(
        bypassed = c(bypassing_remotes(remotes), bypassing_headers(organization)),
        organization = organization
      ),
      ask_helper(organization, challenge)
    )
  )
}

# What git's own settings tell, without asking anybody.
git_set_up <- function(organization = NA_character_) {
  git <- git_output("--version")
  helpers <- azure_helpers(organization)
  gone <- is_gone(helpers$value)
  lost <- helpers[gone, ]
  helpers <- helpers[!gone, ]
  ours <- which(is_ours(helpers$value))
  last <- if (length(ours)) max(ours) else NA
  places <- seq_along(helpers$value)
  list(
    git = if (length(git)) sub("^git version ", "", git[[1]]) else NA_character_,
    helper = git_credential_path(),
    configured = length(ours) > 0,
    origin = if (is.na(last)) NA_character_ else helpers$origin[[last]],
    gone = unique(helper_path(lost$value)),
    before = helper_name(helpers$value[if (is.na(last)) places else places < min(ours)]),
    after = helper_name(helpers$value[if (is.na(last)) integer() else places > last])
  )
}

#' @export
format.azure_git_sitrep <- function(x, ...) {
  lines <- c(
    git = if (is.na(x$git)) "not found" else x$git,
    helper = x$helper,
    configured = if (x$configured) {
      paste("yes, in", origin_in_words(x$origin))
    } else {
      "no; use_azure_git() does it"
    },
    before = told(x$before, "git asks it first; use_azure_git() puts it behind"),
    after = told(
      x$after,
      "git gives it each token, to store; use_azure_git() again, and see ?use_azure_git"
    ),
    gone = if (length(x$gone)) {
      sprintf("%s (git is told to ask it; %s)", toString(x$gone), gone_remedy)
    },
    bypassed = if (length(x$bypassed)) paste(x$bypassed, collapse = " "),
    token = if (x$token) {
      paste("yes, it would expire", time_in_words(x$expires))
    } else {
      paste("no:", x$reason)
    },
    organisation = if (is.na(x$organization)) "not known" else x$organization,
    tenant = tenant_in_words(x)
  )
  c("<azure_git_sitrep>", labelled(lines))
}

#' @export
print.azure_git_sitrep <- function(x, ...) {
  writeLines(format(x, ...))
  invisible(x)
}

gone_remedy <- "R or entrar was upgraded or moved: use_azure_git() mends it"

# Where git says that a setting is from.
origin_in_words <- function(origin) {
  if (startsWith(origin, "file:")) {
    sub("file:", "", origin, fixed = TRUE)
  } else {
    "this session's environment"
  }
}

# The helper writes times as RFC 3339 has them.
time_in_words <- function(time) {
  sub("Z", " UTC", sub("T", " ", time, fixed = TRUE), fixed = TRUE)
}

told <- function(helpers, why) {
  if (length(helpers)) paste0(toString(helpers), " (", why, ")") else "no other helper"
}

tenant_in_words <- function(x) {
  if (is.na(x$tenant)) {
    asked <- if (is.na(x$organization)) "" else ": the organisation's server did not tell"
    return(paste0("not known", asked))
  }
  verdict <- if (is.na(x$tenant_matches)) {
    "the token's is not known"
  } else if (x$tenant_matches) {
    "the token's is the same"
  } else {
    sprintf("but the token is of %s, so it will be refused", x$token_tenant)
  }
  paste0(x$tenant, ", ", verdict)
}
