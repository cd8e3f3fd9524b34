# The credential helper in git's configuration, which is the test's own.

skip_if_not(nzchar(Sys.which("git")), "git")

tenant <- "11111111-1111-4111-8111-111111111111"

# A person's own directory, with nothing in it.
local_git <- function(frame = parent.frame()) {
  home <- withr::local_tempdir(.local_envir = frame)
  withr::local_envvar(
    HOME = home,
    XDG_CONFIG_HOME = file.path(home, ".config"),
    XDG_RUNTIME_DIR = home,
    GIT_CONFIG_GLOBAL = NA,
    GIT_CONFIG_NOSYSTEM = "1",
    GIT_CONFIG_COUNT = NA,
    GIT_CEILING_DIRECTORIES = dirname(home),
    GIT_TRACE = NA,
    .local_envir = frame
  )
  withr::local_dir(home, .local_envir = frame)
  normalizePath(home)
}

git <- function(...) system2("git", shQuote(c(...)), stdout = TRUE)

quietly <- function(code) {
  suppressMessages(code)
}

test_that("the helper is installed with the package and can be run", {
  path <- git_credential_path()
  expect_true(file.access(path, 1) == 0)
  expect_match(system2(path, "--version", stdout = TRUE), "^git-credential-pwb [0-9.]+$")
})

test_that("the person's configuration is changed and changed back", {
  home <- local_git()
  file <- file.path(home, ".gitconfig")
  before <- c("[credential]", "\thelper = store")
  writeLines(before, file)
  expect_message(
    expect_true(use_azure_git()),
    "+[credential \"https://dev.azure.com\"]",
    fixed = TRUE
  )
  path <- git_credential_path()
  expect_identical(
    git("config", "--get-all", "credential.https://dev.azure.com.helper"),
    c("", path)
  )
  expect_identical(
    git("config", "--get-all", "credential.https://*.visualstudio.com.helper"),
    c("", path)
  )
  expect_identical(
    git(
      "config",
      "--type=bool",
      "--get-urlmatch",
      "credential.useHttpPath",
      "https://a.visualstudio.com"
    ),
    "true"
  )
  expect_message(expect_false(use_azure_git()), "so already")
  expect_message(expect_true(use_azure_git(remove = TRUE)), "-[credential", fixed = TRUE)
  expect_identical(readLines(file), before)
  expect_message(expect_false(use_azure_git(remove = TRUE)), "so already")
})

test_that("a repository has its own configuration", {
  home <- local_git()
  expect_error(use_azure_git("project"), "there is no git repository here")
  git("init", "-q", ".")
  before <- readLines(".git/config")
  expect_true(quietly(use_azure_git("project")))
  expect_false(file.exists(file.path(home, ".gitconfig")))
  expect_true(azure_git_sitrep()$configured)
  expect_true(quietly(use_azure_git("project", remove = TRUE)))
  expect_identical(readLines(".git/config"), before)
})

test_that("arguments are checked", {
  local_git()
  expect_error(use_azure_git("system"), "should be one of")
  expect_error(use_azure_git(remove = NA), "`remove` must be TRUE or FALSE")
  for (name in list("", "a b", "-c x=y", c("a", "b"), NA_character_, 1, strrep("a", 51))) {
    expect_error(azure_git_sitrep(name), "`organization` must be one name")
  }
})

test_that("in an interactive session the change is made only if it is wanted", {
  skip_on_os("windows")
  home <- local_git()
  answer <- function(text) {
    script <- c("library(entrar)", "use_azure_git()", text, "q('no')")
    arguments <- c("--vanilla", "--interactive", "--no-readline", "--quiet")
    shown <- system2(
      file.path(R.home("bin"), "R"),
      arguments,
      input = script,
      stdout = TRUE,
      stderr = TRUE
    )
    expect_match(shown, "+[credential \"https://dev.azure.com\"]", fixed = TRUE, all = FALSE)
    file.exists(file.path(home, ".gitconfig"))
  }
  expect_false(answer("no"))
  expect_true(answer("yes"))
})

test_that("without set-up and session the report says what is missing", {
  local_git()
  local_session(NA)
  report <- azure_git_sitrep()
  expect_s3_class(report, "azure_git_sitrep")
  expect_false(report$configured)
  expect_false(report$token)
  expect_match(report$reason, "there is no session to ask")
  expect_identical(report$tenant_matches, NA)
  text <- format(report)
  expect_match(text, "^configured: +no; use_azure_git\\(\\) does it$", all = FALSE)
  expect_match(text, "^token: +no: no token for Azure DevOps: there is no session", all = FALSE)
  expect_match(text, "^organisation: +not known$", all = FALSE)
  expect_identical(capture.output(print(report)), text)
})

test_that("with both the report says so and shows no token", {
  address <- wire_address(list(token_reply()))
  home <- local_git()
  local_session(address)
  quietly(use_azure_git())
  report <- azure_git_sitrep()
  expect_true(report$configured)
  expect_identical(report$origin, paste0("file:", file.path(home, ".gitconfig")))
  expect_identical(c(report$before, report$after), character())
  expect_true(report$token)
  expect_match(report$expires, "^20[0-9-]+T[0-9:]+Z$")
  shown <- c(format(report), capture.output(str(unclass(report))))
  expect_false(any(grepl(canary, shown)))
})

test_that("other helpers are found where they stand", {
  home <- local_git()
  local_session(NA)
  file <- file.path(home, ".gitconfig")
  git("config", "--global", "credential.helper", "cache")
  expect_identical(azure_git_sitrep()$before, "cache")
  quietly(use_azure_git())
  expect_identical(azure_git_sitrep()$before, character())
  git("config", "--file", file, "credential.https://github.com.helper", "manager")
  git("config", "--file", file, "--add", "credential.https://*.azure.com.helper", "store")
  report <- azure_git_sitrep()
  expect_identical(report$after, "store")
  expect_match(format(report), "^after: +store \\(git gives it each token", all = FALSE)
  quietly(use_azure_git())
  expect_identical(azure_git_sitrep()$after, character())
})

test_that("a helper of the same name elsewhere is another one", {
  local_git()
  local_session(NA)
  elsewhere <- "/opt/workbench/git-credential-pwb"
  git("config", "--global", "credential.https://dev.azure.com.helper", elsewhere)
  report <- azure_git_sitrep()
  expect_false(report$configured)
  expect_identical(report$before, elsewhere)
  expect_identical(is_ours(c(elsewhere, git_credential_path(), "store")), c(FALSE, TRUE, FALSE))
  expect_true(is_ours(sprintf("!'%s'", git_credential_path())))
})

test_that("the organisation is taken from the remote", {
  local_git()
  local_session(NA)
  git("init", "-q", ".")
  git("config", "http.proxy", "http://127.0.0.1:1")
  git("remote", "add", "origin", "https://github.com/a/b")
  expect_identical(azure_git_sitrep()$organization, NA_character_)
  for (url in c(
    "https://dev.azure.com/contoso/p/_git/r",
    "https://someone@dev.azure.com/contoso/p/_git/r",
    "https://contoso.visualstudio.com/p/_git/r"
  )) {
    git("remote", "set-url", "origin", url)
    report <- azure_git_sitrep()
    expect_identical(report$organization, "contoso", label = url)
    expect_identical(report$tenant, NA_character_)
  }
})

# A git that shows what a request without a token is answered.
local_challenge <- function(header, frame = parent.frame()) {
  directory <- withr::local_tempdir(.local_envir = frame)
  file <- file.path(directory, "git")
  real <- Sys.which("git")
  lines <- c(
    "#!/bin/sh",
    "case \"$*\" in *ls-remote*)",
    sprintf("  echo '12:00:00 http.c:1  <= Recv header: %s' >&2; exit 128;;", header),
    "esac",
    sprintf("exec %s \"$@\"", real)
  )
  writeLines(lines, file)
  Sys.chmod(file, "0755")
  withr::local_path(directory, .local_envir = frame)
}

test_that("the organisation's tenant is compared with the token's", {
  skip_on_os("windows")
  bearer <- "WWW-Authenticate: Bearer authorization_uri=https://login.microsoftonline.com/"
  payload <- gsub(
    "=|\n",
    "",
    jsonlite::base64url_enc(charToRaw(sprintf("{\"tid\":\"%s\"}", tenant)))
  )
  token <- paste("e30", payload, canary, sep = ".")
  address <- wire_address(list(token_reply(access_token = token)))
  local_git()
  local_session(address)
  report_for <- function(header) {
    local_challenge(header)
    azure_git_sitrep("contoso")
  }

  same <- report_for(paste0(bearer, tenant))
  expect_identical(same[c("tenant", "token_tenant")], list(tenant = tenant, token_tenant = tenant))
  expect_true(same$tenant_matches)
  expect_match(format(same), "the token's is the same$", all = FALSE)

  other <- report_for(paste0(bearer, chartr("1", "2", tenant)))
  expect_true(other$token)
  expect_false(other$tenant_matches)
  expect_match(format(other), "so it will be refused$", all = FALSE)

  none <- report_for("WWW-Authenticate: Basic realm=\"x\"")
  expect_identical(none$tenant_matches, NA)
  expect_false(any(grepl(canary, c(format(same), format(other), capture.output(str(same))))))
})

test_that("nothing of another helper's command line is shown, and no URL is too strange", {
  home <- local_git()
  secret <- "!f() { echo username=me; echo password=CANARY; }; f"
  git("config", "--global", "credential.helper", secret)
  git("config", "--global", "credential.https://[::1]:8443/(a+b.helper", "store --file=/CANARY")
  ours <- "/usr/lib/git-core/git-credential-libsecret CANARY"
  git("config", "--global", "credential.https://dev.azure.com.helper", ours)
  expect_identical(git_set_up()$before, c("a shell command", sub(" .*", "", ours)))
  local_session(NA)
  sitrep <- azure_sitrep()
  expect_false(any(grepl(canary, c(format(sitrep), capture.output(dput(unclass(sitrep)))))))
})
