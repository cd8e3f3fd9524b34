# A machine's hub, as far as a session knows it: a socket in a directory of this test's own.

# Starts a hub that binds people to users in this way; its socket. No agent runs, and no variable of a session is set.
local_hub <- function(binding = "mapped", ..., frame = parent.frame()) {
  # A socket's path has to be short.
  base <- tempfile("entrar-", tmpdir = "/tmp")
  dir.create(base, mode = "0700")
  withr::defer(unlink(base, recursive = TRUE), frame)
  socket <- file.path(base, "hub.sock")
  run_python(c(test_path("hub.py"), socket, Sys.getpid(), binding))
  wait_for(file.exists(paste0(socket, ".pid")), "the hub")
  pid <- as.integer(readLines(paste0(socket, ".pid")))
  withr::defer(tools::pskill(pid), frame)
  local_session(
    NA,
    NA,
    ENTRAR_RUNTIME_DIR = file.path(base, "entrar"),
    ENTRAR_HUB_SOCKET = socket,
    AZURE_TENANT_ID = NA,
    AZURE_CLIENT_ID = NA,
    ...,
    frame = frame
  )
  withr::local_options(browser = "", .local_envir = frame)
  withr::defer(azure_forget(), frame)
  socket
}

# What a person does who signs in on the hub's page.
sign_in_on_page <- function(socket, user = "ada@example.com") {
  new <- paste0(socket, ".new")
  writeLines(user, new)
  file.rename(new, paste0(socket, ".person"))
}

# The hub's socket in words, and what changes from run to run left out.
without_hub <- function(socket) {
  function(lines) {
    lines <- gsub(normalizePath(socket), "SOCKET", lines, fixed = TRUE)
    gsub("until [0-9]{2}:[0-9]{2};", "until TIME;", lines)
  }
}

asked_of_hub <- function(socket) readLines(paste0(socket, ".log"))
