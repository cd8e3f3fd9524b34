# An emulated tenant that one can sign in to, a browser without a window, and an agent of the test's own.

tenant <- new.env()

# Starts the tenant of this file's tests, once.
emulated_tenant <- function(frame = testthat::teardown_env()) {
  if (is.null(tenant$id)) {
    output <- tempfile("emulator")
    # It notes its process id, and becomes the emulator.
    script <- sprintf(
      "echo $$ >'%s.pid'; exec '%s' emulator >'%s' 2>&1",
      output,
      entrar_program(),
      output
    )
    withr::with_envvar(c(https_proxy = NA), {
      system2("sh", c("-c", shQuote(script)), wait = FALSE)
    })
    wait_for(file.exists(output) && any(grepl("MSAL", readLines(output))), "the tenant")
    pid <- as.integer(readLines(paste0(output, ".pid")))
    withr::defer(tools::pskill(pid), frame)
    lines <- readLines(output)
    field <- function(pattern) sub(pattern, "\\1", grep(pattern, lines, value = TRUE)[[1]])
    tenant$authority <- field("^  export AZURE_AUTHORITY_HOST='(.*)'$")
    tenant$client_id <- field("^  export AZURE_CLIENT_ID='(.*)'$")
    tenant$id <- field("^  export AZURE_TENANT_ID='(.*)'$")
  }
  tenant
}

# A session in which an agent may be started, which ends with the test.
local_own_agent <- function(..., frame = parent.frame()) {
  skip_on_os("windows")
  # A socket's path has to be short.
  base <- tempfile("entrar-", tmpdir = "/tmp")
  dir.create(base, mode = "0700")
  withr::defer(unlink(base, recursive = TRUE), frame)
  directory <- file.path(base, "entrar")
  local_session(
    NA,
    NA,
    ENTRAR_RUNTIME_DIR = directory,
    AZURE_TENANT_ID = NA,
    AZURE_CLIENT_ID = NA,
    AZURE_AUTHORITY_HOST = NA,
    AZURE_CLIENT_SECRET = NA,
    AZURE_CLIENT_CERTIFICATE_PATH = NA,
    AZURE_FEDERATED_TOKEN_FILE = NA,
    ...,
    frame = frame
  )
  withr::local_options(
    entrar.tenant = NULL,
    entrar.client_id = NULL,
    entrar.ask = FALSE,
    entrar.answer = NULL,
    browser = NULL,
    .local_envir = frame
  )
  azure_forget()
  stop_agent <- function() {
    withr::with_envvar(
      c(ENTRAR_RUNTIME_DIR = directory),
      run_program(c(entrar_program(), "agent", "stop"))
    )
    azure_forget()
  }
  withr::defer(stop_agent(), frame)
  invisible(directory)
}

# What a browser prints that fills in forms with these fields; see browser.py.
browse <- function(address, ..., stay = FALSE) {
  fields <- utils::modifyList(list(answer = "sign_in"), list(...))
  fields <- paste0(names(fields), "=", unlist(fields))
  arguments <- c(test_path("browser.py"), address, if (stay) "yes" else "no", fields)
  system2("env", c("-u", "LD_LIBRARY_PATH", "python3", shQuote(arguments)), stdout = TRUE)
}

# Signs in to the emulated tenant with a browser that answers so. Tells nothing.
signed_in <- function(..., user = "ada@example.com", answer = "sign_in", error = "") {
  tenant <- emulated_tenant()
  browser <- function(url) browse(url, user = user, answer = answer, error = error)
  withr::local_options(browser = browser)
  arguments <- utils::modifyList(
    list(
      tenant = tenant$id,
      client_id = tenant$client_id,
      authority = tenant$authority,
      method = "browser"
    ),
    list(...)
  )
  suppressMessages(do.call(azure_sign_in, arguments))
}
