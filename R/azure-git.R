# git for Azure DevOps: the credential helper, in git's configuration and out of it.

#' Azure DevOps from git without a personal access token
#'
#' `use_azure_git()` makes git ask entrar's credential helper, `git-credential-pwb`, for repositories of
#' Azure DevOps: `https://dev.azure.com/...` and `https://ORGANISATION.visualstudio.com/...`. The helper
#' answers with a delegated token, the one that [getDelegatedAzureToken()] would get, so that `git clone`,
#' `git pull` and `git push` just work, in every kind of session and for Git LFS too.
#'
#' Two sections are added at the end of git's configuration, between two comments; nothing else in the file
#' changes. Each section first makes git forget the helpers that it has read before: git gives an accepted
#' token to *every* helper, and one such as `store` would write it to disk. A helper that is configured
#' later, or in a repository, is not forgotten: [azure_git_sitrep()] tells, and calling `use_azure_git()`
#' again (in that repository with `scope = "project"`) puts ours last.
#'
#' The change is shown first, and made if you agree; where nobody can be asked, only with `yes = TRUE`. From a
#' shell, the file at `git_credential_path()` does the same, given `configure` or `unconfigure`, but tells git its
#' own path unless `--helper PATH` names another.
#'
#' @section After an upgrade of R:
#' Your own library's path holds R's version, so what lies there may be gone after an upgrade. git is therefore told the
#' path of a link, `~/.local/share/entrar/bin/git-credential-pwb` (`XDG_DATA_HOME` is heeded), which `use_azure_git()`
#' makes. If what it leads to is gone, [azure_git_sitrep()] says so, and calling `use_azure_git()` again makes it lead to
#' the helper of the library that it is called from. Loading entrar changes no file. `remove = TRUE` deletes the link
#' too, unless another configuration that git reads here names it. On Windows, where links need a privilege, git is
#' told the helper's own path: after an upgrade call `use_azure_git()` there too.
#'
#' @param scope Whose configuration: `"user"` is your own (`git config --global`), `"project"` that of the
#'   repository in the working directory.
#' @param remove `TRUE` undoes it.
#' @param yes `TRUE` makes the change without asking, as a script must.
#'
#' @return `use_azure_git()`: `TRUE` if something was changed, else `FALSE`, invisibly.
#'   `git_credential_path()`: the helper's path, a string.
#' @examples
#' git_credential_path()
#' \dontrun{
#' use_azure_git()
#' use_azure_git(remove = TRUE)
#' }
#' @export
use_azure_git <- function(scope = c("user", "project"), remove = FALSE, yes = FALSE) {
  scope <- match.arg(scope)
  check_flag(remove, "remove")
  check_flag(yes, "yes")
  words <- c(
    if (remove) "unconfigure" else c("configure", "--helper", configured_path()),
    if (scope == "project") "--project"
  )
  change <- c(run_git_credential(c(words, "--dry-run")), if (!remove) link_change())
  if (!length(change)) {
    message("git is already set up this way: nothing was changed.")
    return(invisible(FALSE))
  }
  message(paste(change, collapse = "\n"))
  if (!yes && !is_wanted(scope, remove)) {
    return(invisible(FALSE))
  }
  if (!remove) {
    make_link()
  }
  run_git_credential(words)
  if (remove) {
    remove_link()
  }
  invisible(TRUE)
}

check_flag <- function(value, name) {
  if (!isTRUE(value) && !isFALSE(value)) {
    stop(sprintf("`%s` must be TRUE or FALSE.", name), call. = FALSE)
  }
}

# Where nobody can be asked, silence is no consent.
is_wanted <- function(scope, remove) {
  if (interactive()) {
    return(isTRUE(utils::askYesNo("Make this change?")))
  }
  arguments <- c(
    if (scope == "project") "\"project\"",
    if (remove) "remove = TRUE",
    "yes = TRUE"
  )
  stop(
    "Nothing was changed, since nobody can be asked here. To make this change, call `use_azure_git(",
    toString(arguments),
    ")`.",
    call. = FALSE
  )
}

# The path that git is told. It stays the same when R is upgraded, and with it the path of the person's library.
configured_path <- function() {
  if (.Platform$OS.type == "windows") git_credential_path() else link_path()
}

link_path <- function() {
  data <- Sys.getenv("XDG_DATA_HOME")
  if (!startsWith(data, "/")) {
    data <- file.path(Sys.getenv("HOME", path.expand("~")), ".local", "share")
  }
  file.path(data, "entrar", "bin", "git-credential-pwb")
}

# Where the link leads; empty where there is no link.
link_target <- function() {
  target <- Sys.readlink(link_path())
  if (is.na(target)) "" else target
}

# What `make_link()` would do, if anything.
link_change <- function() {
  if (configured_path() == link_path() && link_target() != git_credential_path()) {
    sprintf("%s will be a link to %s", link_path(), git_credential_path())
  }
}

make_link <- function() {
  link <- link_path()
  target <- git_credential_path()
  if (configured_path() != link || link_target() == target) {
    return(invisible())
  }
  dir.create(dirname(link), recursive = TRUE, showWarnings = FALSE)
  # A git that looks for the helper at this moment finds the old link or the new one.
  new <- tempfile("link", dirname(link))
  if (!suppressWarnings(file.symlink(target, new) && file.rename(new, link))) {
    unlink(new)
    stop("The link ", link, " cannot be made.", call. = FALSE)
  }
}

# Deletes the link, unless a configuration that git reads here still names it, and the directories above it if they are
# empty.
remove_link <- function() {
  if (!link_path() %in% helper_path(azure_helpers(NA_character_)$value)) {
    unlink(link_path())
    above <- dirname(link_path())
    suppressWarnings(file.remove(c(above, dirname(above))))
  }
}

#' @rdname use_azure_git
#' @export
git_credential_path <- function() {
  name <- if (.Platform$OS.type == "windows") "git-credential-pwb.exe" else "git-credential-pwb"
  path <- system.file("bin", name, package = "entrar")
  if (!nzchar(path)) {
    stop(
      "The git credential helper is not installed with this package; install entrar again.",
      call. = FALSE
    )
  }
  path
}

# What the helper prints; its complaint as an error.
run_git_credential <- function(words) {
  done <- run_program(c(git_credential_path(), words), limit = longest_timeout)
  if (!identical(done$status, 0L)) {
    complaint <- if (length(done$errors)) {
      done$errors
    } else {
      "The git credential helper did not finish."
    }
    stop(paste(complaint, collapse = "\n"), call. = FALSE)
  }
  done$output
}
