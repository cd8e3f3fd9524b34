# What git's settings, its remotes, Azure DevOps and the credential helper tell: the facts of azure_git_sitrep().

check_name <- function(organization) {
  good <- is.character(organization) &&
    length(organization) == 1 &&
    grepl("^[A-Za-z0-9-]{1,50}$", organization)
  if (!good) {
    stop("`organization` must be one name, of letters, digits and hyphens.", call. = FALSE)
  }
  organization
}

# What git prints; nothing if it fails or is not there.
git_output <- function(...) {
  done <- run_git(c(...))
  if (identical(done$status, 0L)) done$output else character()
}

# `NULL` where there is no git.
run_git <- function(arguments, variables = character()) {
  git <- Sys.which("git")
  if (nzchar(git)) {
    quiet <- c("LC_ALL=C", "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=")
    run_program(c(git, arguments), c(quiet, variables))
  }
}

# The remotes of the repository here and their addresses, as `url.<base>.insteadOf` leaves them.
git_remotes <- function() {
  lines <- git_output("remote", "-v")
  pattern <- "^([^\t]*)\t(.*) \\((fetch|push)\\)( \\[[^]]*\\])?$"
  lines <- grep(pattern, lines, value = TRUE)
  found <- data.frame(name = sub(pattern, "\\1", lines), url = sub(pattern, "\\2", lines))
  unique(found)
}

# The organisation of an address that is what it seems.
url_organization <- function(url) {
  name <- "([A-Za-z0-9-]{1,50})"
  patterns <- c(
    paste0("^https://([^/?#@]*@)?dev\\.azure\\.com(:443)?/", name, "([/?#].*)?$"),
    paste0("^https://([^/?#@]*@)?()", name, "\\.visualstudio\\.com(:443)?([/?#].*)?$"),
    paste0(
      "^(?:ssh://)?[^/@:]*@(ssh\\.dev\\.azure|vs-ssh\\.visualstudio)\\.com(:22)?[:/]v3/",
      name,
      "(/.*)?$"
    )
  )
  for (pattern in patterns) {
    if (!is_misread(url) && grepl(pattern, url, ignore.case = TRUE, perl = TRUE)) {
      return(sub(pattern, "\\3", url, ignore.case = TRUE, perl = TRUE))
    }
  }
  NA_character_
}

origin_organization <- function(remotes) {
  url <- remotes$url[remotes$name == "origin"]
  if (length(url)) url_organization(url[[1]]) else NA_character_
}

# Whether an address has a second @, or one behind its first /, ? or #. As a rule that is of a password that was not
# encoded, whose rest git takes for host or path.
is_misread <- function(url) {
  grepl("^[A-Za-z][A-Za-z0-9+.-]*://([^@]*@[^@]*@|[^/?#]*[/?#][^@]*@)", url)
}

# Why git asks no helper, a sentence for each such remote, with nothing of its address.
bypassing_remotes <- function(remotes) {
  sentences <- vapply(remotes$url, why_bypassed, "", USE.NAMES = FALSE)
  # A name is free text where somebody has written the file by hand.
  plain <- grepl("^[A-Za-z0-9._-]{1,50}$", remotes$name)
  name <- ifelse(plain, paste0("The remote ", remotes$name), "A remote")
  unique(paste(name, sentences)[!is.na(sentences)])
}

why_bypassed <- function(url) {
  url <- sub("^([A-Za-z]+://)", "\\L\\1", url, perl = TRUE)
  authority <- sub("^https://([^/?#]*).*$", "\\1", url)
  user <- if (grepl("@", authority, fixed = TRUE)) sub("@[^@]*$", "", authority) else ""
  host <- sub("^.*@", "", authority)
  if (is_misread(url) && grepl("(dev\\.azure|\\.visualstudio)\\.com", url, ignore.case = TRUE)) {
    paste(
      "has an @ in its address that is not encoded, so git may take a part of a password for host or path:",
      "percent-encode it (@ is %40, # is %23, / is %2F), or better leave the password out."
    )
  } else if (grepl(ssh_to_azure, url, ignore.case = TRUE)) {
    paste(
      "goes by SSH, for which git asks no helper: `git remote set-url` gives it the address",
      "https://dev.azure.com/{organization}/{project}/_git/{repository}."
    )
  } else if (!startsWith(url, "https://") || !grepl(azure_host, host, ignore.case = TRUE)) {
    NA_character_
  } else if (grepl(":", user, fixed = TRUE)) {
    paste(
      "has a password or token in its address, which git sends without asking a helper:",
      without_user
    )
  } else if (nchar(user) > 50) {
    paste(
      "has what looks like a token as user name in its address, and whoever reads the file reads it:",
      without_user
    )
  } else {
    NA_character_
  }
}

azure_host <- "^(dev\\.azure|[a-z0-9-]+\\.visualstudio)\\.com\\.?(:443)?$"
ssh_to_azure <- "^(ssh://)?([^/@:]*@)?(ssh\\.dev\\.azure|[a-z0-9-]+\\.visualstudio)\\.com\\.?[:/]"

without_user <- paste(
  "`git remote set-url` gives it the address without what stands between https:// and the @.",
  "Revoke the token."
)

# Headers with a credential that git sends with each request: the helper's answer does not replace them.
bypassing_headers <- function(organization) {
  found <- git_settings("http", "extraheader")
  host <- "^https://([^/@]*@)?[a-z0-9*-]+\\.visualstudio\\.com([:/]|$)"
  is_other_host <- grepl(host, found$url, ignore.case = TRUE)
  found <- last_ones(found[is_azure_url(found$url, organization) | is_other_host, ])
  found <- found[grepl("^authorization[[:space:]]*:", found$value, ignore.case = TRUE), ]
  sprintf(
    "The setting %s in %s sends a credential of its own with each request: take it out, with `git config --unset-all` in a file.",
    ifelse(nzchar(found$url), "http.<url>.extraHeader", "http.extraHeader"),
    vapply(found$origin, origin_in_words, "", USE.NAMES = FALSE)
  )
}

# The helpers that git asks for https://dev.azure.com, in its order: an empty one makes it forget those before.
azure_helpers <- function(organization) {
  found <- git_settings("credential", "helper")
  last_ones(found[is_azure_url(found$url, organization), ])
}

# An empty value of such a setting empties the list.
last_ones <- function(found) {
  reset <- which(!nzchar(found$value))
  found[seq_len(nrow(found)) > max(0, reset), ]
}

# All values of `section.name` and `section.<url>.name`, in git's order, and where they stand.
git_settings <- function(section, name) {
  pattern <- sprintf("%s\\.(.*\\.)?%s", section, name)
  lines <- git_output("config", "--show-origin", "--get-regexp", sprintf("^%s$", pattern))
  line <- sprintf("^([^\t]*)\t%s( (.*))?$", pattern)
  # A value may go on in a line of its own.
  lines <- grep(line, lines, value = TRUE)
  parts <- regmatches(lines, regexec(line, lines))
  data.frame(
    origin = vapply(parts, `[`, "", 2),
    url = sub("\\.$", "", vapply(parts, `[`, "", 3)),
    value = vapply(parts, `[`, "", 5)
  )
}

# The program alone. Its arguments may hold a password, and so may an address in its place. A shell reads the line, so a
# word ends where a shell's word can end.
helper_name <- function(value) {
  name <- sub("[[:space:];&|<>()$\"'=`].*$", "", value)
  is_plain <- grepl("^([A-Za-z]:[/\\\\])?[^:@]*$", name) &
    grepl("^[A-Za-z0-9._-]+$", basename(name))
  name[!is_plain] <- "a helper"
  name[startsWith(value, "!")] <- "a shell command"
  name
}

# As git matches URLs: without one a setting is for all; a star is any text within one part of the host.
is_azure_url <- function(url, organization) {
  path <- if (is.na(organization)) "" else sprintf("(%s(/.*)?)?", organization)
  bare <- sub("^https://([^/@]*@)?", "", url)
  host <- sub("[:/].*$", "", bare)
  pattern <- paste0(
    "^",
    gsub("*", "[^.]*", gsub("([][{}()+?^$|\\\\.])", "\\\\\\1", host), fixed = TRUE),
    "$"
  )
  host_matches <- vapply(pattern, grepl, TRUE, x = "dev.azure.com", USE.NAMES = FALSE)
  path_matches <- grepl(paste0("^[^/:]*(:443)?(/", path, ")?$"), bare, ignore.case = TRUE)
  !nzchar(url) | (startsWith(url, "https://") & host_matches & path_matches)
}

# By its path: Workbench brings a helper of the same name, and an older library may hold an older one. The link is ours
# whatever library it leads to.
is_ours <- function(value) {
  path <- helper_path(value)
  path %in%
    link_path() |
    normalizePath(path, mustWork = FALSE) %in% normalizePath(git_credential_path())
}

# The path of a helper that is configured by its path alone, else `NA`. git looks for a name on the search path.
helper_path <- function(value) {
  path <- vapply(value, git_helper_path, "", USE.NAMES = FALSE)
  path[value == "pwb"] <- Sys.which("git-credential-pwb")
  path
}

# Whether it is a path to a helper of this name that leads nowhere.
is_gone <- function(value) {
  path <- helper_path(value)
  grepl("[/\\\\]git-credential-pwb(\\.exe)?$", path) & !file.exists(path)
}

# The challenges to a request without a token. -c comes after all other settings: no helper is asked.
challenge_of <- function(organization) {
  if (is.na(organization)) {
    return(character())
  }
  address <- sprintf("https://dev.azure.com/%s/_git/%s", organization, organization)
  # Of settings by address, the one of the whole address counts.
  no_header <- sprintf("http.%s.extraHeader=", address)
  done <- run_git(
    c("-c", "credential.helper=", "-c", no_header, "ls-remote", address),
    # run_program() has the trace in a file for a moment: without cookies and passwords, whatever the session's variables say.
    c("GIT_TRACE_CURL=1", "GIT_TRACE_CURL_NO_DATA=1", "GIT_TRACE_REDACT=1")
  )
  lines <- done$errors
  header <- "^.*<= Recv header: *www-authenticate: *"
  sub(header, "", grep(header, lines, value = TRUE, ignore.case = TRUE), ignore.case = TRUE)
}

# Asks the helper as git would. It tells what came of it, and keeps the token to itself.
ask_helper <- function(organization, challenge) {
  request <- c(
    "protocol=https",
    "host=dev.azure.com",
    if (!is.na(organization)) paste0("path=", organization),
    if (length(challenge)) paste0("wwwauth[]=", challenge)
  )
  done <- run_program(
    c(git_credential_path(), "report"),
    "GIT_TERMINAL_PROMPT=0",
    input = request,
    limit = longest_timeout
  )
  fact <- function(name) {
    found <- grep(paste0("^", name, ": "), done$output, value = TRUE)
    if (length(found)) sub("^[^:]*: ", "", found[[1]]) else NA_character_
  }
  token <- identical(fact("token"), "yes")
  tenants <- c(fact("tenant"), fact("token_tenant"))
  reason <- if (is.na(fact("reason"))) paste(done$errors, collapse = " ") else fact("reason")
  list(
    tenant = tenants[[1]],
    token = token,
    expires = fact("expires"),
    reason = if (token) NA_character_ else reason,
    token_tenant = tenants[[2]],
    tenant_matches = if (anyNA(tenants)) NA else tenants[[1]] == tenants[[2]]
  )
}
