# The credential helper in git's configuration, which is the test's own.

skip_if_not(nzchar(Sys.which("git")), "git")

tenant <- "11111111-1111-4111-8111-111111111111"

# A person's own directory, with nothing in it.
local_git <- function(frame = parent.frame()) {
  home <- withr::local_tempdir(.local_envir = frame)
  withr::local_envvar(
    HOME = home,
    XDG_CONFIG_HOME = file.path(home, ".config"),
    XDG_DATA_HOME = file.path(home, ".local", "share"),
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

# As a script has to: here nobody can be asked.
set_up_git <- function(...) quietly(use_azure_git(..., yes = TRUE))

# No token stays in the user's keyring.
local_helper_session <- function(..., frame = parent.frame()) {
  local_session(..., frame = frame)
  request <- c("protocol=https", "host=dev.azure.com")
  withr::defer(run_program(c(git_credential_path(), "erase"), input = request), frame)
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
    expect_true(use_azure_git(yes = TRUE)),
    "+[credential \"https://dev.azure.com\"]",
    fixed = TRUE
  )
  path <- configured_path()
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
  expect_message(expect_false(use_azure_git()), "already set up this way", fixed = TRUE)
  expect_message(
    expect_true(use_azure_git(remove = TRUE, yes = TRUE)),
    "-[credential",
    fixed = TRUE
  )
  expect_identical(readLines(file), before)
  expect_message(
    expect_false(use_azure_git(remove = TRUE)),
    "already set up this way",
    fixed = TRUE
  )
})

test_that("a repository has its own configuration", {
  home <- local_git()
  expect_error(use_azure_git("project"), "there is no git repository here")
  git("init", "-q", ".")
  before <- readLines(".git/config")
  expect_true(set_up_git("project"))
  expect_false(file.exists(file.path(home, ".gitconfig")))
  expect_true(azure_git_sitrep()$configured)
  expect_true(set_up_git("project", remove = TRUE))
  expect_identical(readLines(".git/config"), before)
})

test_that("arguments are checked", {
  local_git()
  expect_error(use_azure_git("system"), "should be one of")
  expect_error(use_azure_git(remove = NA), "`remove` must be TRUE or FALSE")
  expect_error(use_azure_git(yes = "y"), "`yes` must be TRUE or FALSE")
  for (name in list("", "a b", "-c x=y", c("a", "b"), NA_character_, 1, strrep("a", 51))) {
    expect_error(azure_git_sitrep(name), "`organization` must be one name")
  }
})

test_that("where nobody can be asked the change is shown, and made only on an explicit yes", {
  home <- local_git()
  expect_message(
    expect_error(
      use_azure_git(),
      "Nothing was changed, .* call `use_azure_git\\(yes = TRUE\\)`\\.$"
    ),
    "+[credential \"https://dev.azure.com\"]",
    fixed = TRUE
  )
  expect_identical(list.files(home, all.files = TRUE, no.. = TRUE), character())
  git("init", "-q", ".")
  set_up_git("project")
  expect_error(
    quietly(use_azure_git("project", remove = TRUE)),
    "call `use_azure_git(\"project\", remove = TRUE, yes = TRUE)`.",
    fixed = TRUE
  )
  expect_true(azure_git_sitrep()$configured)
})

test_that("git is told a link, which survives the library that it leads to", {
  skip_on_os("windows")
  home <- local_git()
  local_session(NA)
  link <- file.path(home, ".local/share/entrar/bin/git-credential-pwb")
  expect_message(
    use_azure_git(yes = TRUE),
    paste(link, "will be a link to", git_credential_path()),
    fixed = TRUE
  )
  expect_identical(configured_path(), link)
  expect_identical(Sys.readlink(link), git_credential_path())
  expect_match(system2(link, "--version", stdout = TRUE), "^git-credential-pwb ")

  # An upgrade of R, with a library of its own.
  unlink(link)
  file.symlink("/gone/R/4.1/entrar/bin/git-credential-pwb", link)
  report <- azure_git_sitrep()
  expect_false(report$configured)
  expect_identical(report$gone, link)
  # To load the package writes nothing.
  .onLoad()
  expect_identical(Sys.readlink(link), "/gone/R/4.1/entrar/bin/git-credential-pwb")
  expect_true(set_up_git())
  expect_identical(Sys.readlink(link), git_credential_path())
  expect_true(azure_git_sitrep()$configured)
  expect_identical(azure_git_sitrep()$gone, character())

  # Another library's helper that is there is left alone, until one asks for this one.
  other <- file.path(home, "git-credential-pwb")
  file.copy(git_credential_path(), other)
  unlink(link)
  file.symlink(other, link)
  expect_identical(Sys.readlink(link), other)
  expect_true(azure_git_sitrep()$configured)
  expect_true(set_up_git())
  expect_identical(Sys.readlink(link), git_credential_path())
  expect_message(expect_false(use_azure_git()), "already set up this way", fixed = TRUE)
})

test_that("the link goes when no configuration names it any more", {
  skip_on_os("windows")
  home <- local_git()
  git("init", "-q", ".")
  set_up_git()
  set_up_git("project")
  set_up_git(remove = TRUE)
  expect_true(file.exists(link_path()))
  set_up_git("project", remove = TRUE)
  expect_identical(list.files(file.path(home, ".local", "share")), character())
})

test_that("a helper that is gone is called so, with what to do", {
  local_git()
  local_session(NA)
  gone <- c("/gone/R/4.1/entrar/bin/git-credential-pwb", "/a b/entrar/bin/git-credential-pwb")
  for (value in c(gone[[1]], sprintf("!'%s'", gone[[2]]))) {
    git("config", "--global", "--add", "credential.https://dev.azure.com.helper", value)
  }
  report <- azure_git_sitrep()
  expect_false(report$configured)
  expect_identical(report$gone, gone)
  expect_identical(report$before, character())
  expect_match(
    format(report),
    "^gone: +/gone/.*R or entrar was upgraded or moved: use_azure_git\\(\\) mends it\\)$",
    all = FALSE
  )
  expect_match(
    entry_of_git(git_set_up())$text,
    "a helper that is gone: use_azure_git() mends it",
    fixed = TRUE
  )
  set_up_git()
  report <- azure_git_sitrep()
  expect_true(report$configured)
  expect_identical(report$gone, character())
  expect_no_match(format(report), "^gone:")
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
  local_helper_session(address)
  set_up_git()
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
  set_up_git()
  expect_identical(azure_git_sitrep()$before, character())
  git("config", "--file", file, "credential.https://github.com.helper", "manager")
  git("config", "--file", file, "--add", "credential.https://*.azure.com.helper", "store")
  report <- azure_git_sitrep()
  expect_identical(report$after, "store")
  expect_match(format(report), "^after: +store \\(git gives it each token", all = FALSE)
  set_up_git()
  expect_identical(azure_git_sitrep()$after, character())
})

test_that("a helper of the same name elsewhere is another one", {
  home <- local_git()
  local_session(NA)
  elsewhere <- file.path(home, "git-credential-pwb")
  file.create(elsewhere)
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

# A repository whose remote `origin` has this address, which nobody is asked for.
local_remote <- function(url, frame = parent.frame()) {
  local_git(frame)
  local_session(NA, frame = frame)
  git("init", "-q", ".")
  git("config", "http.proxy", "http://127.0.0.1:1")
  git("config", "remote.origin.url", url)
}

shown_of <- function(report) {
  c(format(report), capture.output(str(unclass(report)), dput(unclass(report))))
}

test_that("a remote that makes git ask no helper is told, and none of its secrets", {
  pat <- paste0(strrep("a", 46), canary)
  long <- "has what looks like a token as user name in its address"
  for (case in list(
    c(
      "https://user:CANARY@dev.azure.com/contoso/p/_git/r",
      "has a password or token in its address"
    ),
    c(
      "https://:CANARY@dev.azure.com:443/contoso/p/_git/r",
      "has a password or token in its address"
    ),
    c("HTTPS://user:CANARY%2Fx@contoso.visualstudio.com/p/_git/r", "has a password or token"),
    c(sprintf("https://%s@dev.azure.com/contoso/p/_git/r", pat), long),
    c("git@ssh.dev.azure.com:v3/contoso/p/r", "goes by SSH, for which git asks no helper"),
    c("ssh://git@ssh.dev.azure.com:22/v3/contoso/p/r", "goes by SSH"),
    c("contoso@vs-ssh.visualstudio.com:v3/contoso/p/r", "goes by SSH")
  )) {
    local({
      local_remote(case[[1]])
      report <- azure_git_sitrep()
      expect_match(report$bypassed, paste("^The remote origin", case[[2]]))
      expect_match(report$bypassed, "`git remote set-url` gives it the address ", fixed = TRUE)
      expect_identical(report$organization, "contoso", label = case[[1]])
      expect_match(format(report), "^bypassed: +The remote origin ", all = FALSE)
      expect_false(any(grepl(canary, shown_of(report))), label = case[[1]])
    })
  }
  for (url in c(
    "https://dev.azure.com/contoso/p/_git/r",
    "https://contoso@dev.azure.com/contoso/p/_git/r",
    "https://user:CANARY@github.com/a/b",
    "git@github.com:a/b",
    "/srv/dev.azure.com/r"
  )) {
    local({
      local_remote(url)
      report <- azure_git_sitrep()
      expect_identical(report$bypassed, character(), label = url)
      expect_no_match(format(report), "^bypassed:")
      expect_false(any(grepl(canary, shown_of(report))), label = url)
    })
  }
})

test_that("each remote counts, as git rewrites its address", {
  local_remote("https://github.com/a/b")
  git("config", "remote.up.url", "azure:contoso/p/_git/r")
  git("config", "url.https://me:CANARY@dev.azure.com/.insteadOf", "azure:")
  git("config", "remote.CANARY x.url", "git@ssh.dev.azure.com:v3/contoso/p/r")
  report <- azure_git_sitrep()
  expect_length(report$bypassed, 2)
  expect_match(report$bypassed, "^The remote up has a password or token", all = FALSE)
  expect_match(report$bypassed, "^A remote goes by SSH", all = FALSE)
  expect_false(any(grepl(canary, shown_of(report))))
})

test_that("of an address that git can misread nothing is shown, and the report says to encode it", {
  for (url in c(
    "https://user:CANARY/ss@dev.azure.com/contoso/p/_git/r",
    "https://user:CANARY?ss@dev.azure.com/contoso/p/_git/r",
    "https://user:CANARY#ss@dev.azure.com/contoso/p/_git/r",
    "https://user:CAN@ARY@dev.azure.com/contoso/p/_git/r",
    "https://dev.azure.com/CANARY/x@dev.azure.com/contoso/p/_git/r",
    "https://CANARY.visualstudio.com/x@contoso.visualstudio.com/p/_git/r",
    "https://dev.azure.com/CANARY?x@y"
  )) {
    local({
      local_remote(url)
      report <- azure_git_sitrep()
      expect_identical(report$organization, NA_character_, label = url)
      expect_match(
        report$bypassed,
        "percent-encode it (@ is %40, # is %23, / is %2F)",
        fixed = TRUE
      )
      expect_false(any(grepl("CANARY|ARY@", shown_of(report))), label = url)
      set_up <- capture.output(dput(unclass(azure_sitrep())))
      expect_false(any(grepl("CANARY|ARY@", set_up)), label = url)
    })
  }
})

test_that("a header with a credential of its own is told, and not what it says", {
  header <- "AUTHORIZATION: basic CANARY"
  told <- function(...) {
    git("config", "--global", ...)
    report <- azure_git_sitrep()
    expect_false(any(grepl(canary, shown_of(report))))
    report$bypassed
  }
  home <- local_git()
  local_session(NA)
  where <- file.path(home, ".gitconfig")
  expect_identical(told("http.extraHeader", "X-Trace: CANARY"), character())
  expect_match(
    told("--add", "http.extraHeader", header),
    sprintf("^The setting http.extraHeader in %s sends a credential", where)
  )
  # An empty value takes back what stands before it.
  expect_identical(told("--add", "http.extraHeader", ""), character())
  expect_identical(told("http.https://github.com/.extraHeader", header), character())
  for (base in c(
    "https://dev.azure.com/",
    "https://me:CANARY@dev.azure.com",
    "https://a.visualstudio.com"
  )) {
    key <- sprintf("http.%s.extraHeader", base)
    expect_match(told(key, header), "^The setting http.<url>.extraHeader in ", label = base)
    git("config", "--global", "--unset", key)
  }
})

test_that("a bad ENTRAR_TIMEOUT is the same error as elsewhere", {
  local_git()
  local_session(wire_address(list(token_reply())))
  for (value in c("soon", "0", "-1", "86401", "1 2", " ", "NaN")) {
    withr::local_envvar(ENTRAR_TIMEOUT = value)
    error <- tryCatch(getDelegatedAzureToken(storage), error = conditionMessage)
    expect_identical(azure_git_sitrep()$reason, error, label = value)
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
  local_helper_session(address)
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

test_that("the trace of the request without a token is redacted, whatever the session says", {
  skip_on_os("windows")
  local_git()
  local_challenge("WWW-Authenticate: redact='\"$GIT_TRACE_REDACT\"'")
  for (value in c(NA, "0")) {
    withr::local_envvar(GIT_TRACE_REDACT = value)
    expect_identical(challenge_of("contoso"), "redact=1")
  }
})

test_that("of a helper's command line only a plain name or path is shown", {
  expect_identical(
    helper_name(c(
      "store",
      "/usr/bin/helper",
      "/home/j\u00fcrgen/.local/bin/git-credential-x_1.2",
      "store --file=CANARY",
      "store\t--CANARY",
      "/usr/bin/helper\t--token=CANARY",
      "/usr/bin/helper;TOKEN=CANARY",
      "/usr/bin/helper&CANARY",
      "/usr/bin/helper|CANARY",
      "/usr/bin/helper<CANARY",
      "/usr/bin/helper>CANARY",
      "/usr/bin/helper$(CANARY)",
      "/usr/bin/helper`CANARY`"
    )),
    c(
      "store",
      "/usr/bin/helper",
      "/home/j\u00fcrgen/.local/bin/git-credential-x_1.2",
      rep("store", 2),
      rep("/usr/bin/helper", 8)
    )
  )
  unclear <- c(
    "\"/usr/bin/helper\" CANARY",
    "'/usr/bin/helper' CANARY",
    "/CANARY\\ CANARY/helper",
    "/usr/bin/CANARY#x",
    "CANARY@x",
    "https://user:CANARY@host/helper",
    "https://CANARY/helper",
    "/CANARY@x/helper",
    "svc:CANARY/helper",
    "/CANARY:x/helper",
    "/usr/bin/=CANARY"
  )
  expect_identical(helper_name(unclear[1:10]), rep("a helper", 10))
  expect_no_match(helper_name(unclear), canary)
  expect_identical(helper_name("!TOKEN=CANARY x"), "a shell command")
})

test_that("a helper is gone only if its path alone is configured", {
  home <- local_git()
  local_session(NA)
  for (value in c(
    "/usr/bin/log --token=CANARY /gone/entrar/bin/git-credential-pwb",
    "!'/usr/bin/log' --token=CANARY '/gone/entrar/bin/git-credential-pwb'",
    "!/usr/bin/log CANARY/git-credential-pwb",
    "https://user:CANARY@host/git-credential-pwb"
  )) {
    git("config", "--global", "credential.https://dev.azure.com.helper", value)
    report <- azure_git_sitrep()
    expect_identical(report$gone, character(), label = value)
    expect_length(report$before, 1)
    expect_false(any(grepl(canary, shown_of(report))), label = value)
    sitrep <- azure_sitrep()
    expect_false(any(grepl(canary, c(format(sitrep), capture.output(dput(unclass(sitrep)))))))
  }
})

test_that("the change that is shown has nothing of what others have written between our lines", {
  home <- local_git()
  set_up_git()
  key <- "credential.https://dev.azure.com.helper"
  git("config", "--file", file.path(home, ".gitconfig"), "--add", key, "!echo password=CANARY")
  shown <- capture.output(
    expect_true(use_azure_git(remove = TRUE, yes = TRUE)),
    type = "message"
  )
  expect_match(shown, "^-[[:space:]]useHttpPath = true$", all = FALSE)
  expect_false(any(grepl(canary, shown)))
  expect_identical(git("config", "--get-all", key), "!echo password=CANARY")
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
