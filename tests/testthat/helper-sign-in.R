# A tenant to sign in to, a browser that does what a person would, and a place for the agent.

tenants <- new.env()

# The emulated tenant of all these tests: its address, its id and its public app. It is started on first use.
emulated_tenant <- function() {
  if (is.null(tenants$found)) {
    directory <- tempfile("tenant-")
    dir.create(directory)
    said <- file.path(directory, "said")
    pid <- file.path(directory, "pid")
    program <- system.file("bin", "entrar", package = "entrar")
    script <- sprintf(
      "echo $$ > '%s.new'; mv '%s.new' '%s'; exec '%s' emulator > '%s'",
      pid,
      pid,
      pid,
      program,
      said
    )
    system2("sh", c("-c", shQuote(script)), wait = FALSE)
    wait_for(file.exists(pid), "the emulated tenant")
    started <- as.integer(readLines(pid))
    withr::defer(tools::pskill(started), testthat::teardown_env())
    line <- "azure_sign_in\\(tenant = \"(.*)\", client_id = \"(.*)\", authority = \"(.*)\"\\)"
    lines <- function() grep(line, readLines(said, warn = FALSE), value = TRUE)
    wait_for(file.exists(said) && length(lines()) > 0, "the emulated tenant's word")
    parts <- regmatches(lines(), regexec(line, lines()))[[1]]
    tenants$found <- list(tenant = parts[[2]], client_id = parts[[3]], authority = parts[[4]])
  }
  tenants$found
}

# What the browser says of where it ends.
browse <- function(..., answer = "sign_in", user = "ada@example.com") {
  words <- c(test_path("browser.py"), answer, user, ...)
  said <- system2("env", c("-u", "LD_LIBRARY_PATH", "python3", shQuote(words)), stdout = TRUE)
  paste(said, collapse = "\n")
}

# A place for an agent of this test's own, which ends with it. No variable of a session or of an app is set.
local_sign_in <- function(frame = parent.frame(), ...) {
  base <- tempfile("entrar-", tmpdir = "/tmp")
  dir.create(base, mode = "0700")
  withr::defer(unlink(base, recursive = TRUE), frame)
  directory <- file.path(base, "entrar")
  local_session(
    NA,
    NA,
    ENTRAR_RUNTIME_DIR = directory,
    ENTRAR_ORIGIN = NA,
    AZURE_TENANT_ID = NA,
    AZURE_CLIENT_ID = NA,
    AZURE_AUTHORITY_HOST = NA,
    POSIT_PRODUCT = NA,
    RSTUDIO_PRODUCT = NA,
    ...,
    frame = frame
  )
  withr::defer(
    run_program(c(entrar_program(), "agent", "stop"), paste0("ENTRAR_RUNTIME_DIR=", directory)),
    frame
  )
  withr::defer(azure_forget(), frame)
  directory
}

# Signs in as a person does whose browser is told what to answer.
sign_in <- function(..., answer = "sign_in", user = "ada@example.com", method = "browser") {
  tenant <- emulated_tenant()
  withr::local_options(browser = function(url) {
    tenants$page <- browse(url, answer = answer, user = user)
  })
  suppressMessages(
    azure_sign_in(
      tenant$tenant,
      tenant$client_id,
      method = method,
      authority = tenant$authority,
      ...
    )
  )
}
