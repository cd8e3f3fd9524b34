# A person's own agent, as far as a session knows it: a socket in a directory of this test's own.

# The directory, where nobody listens yet.
local_agents_directory <- function(frame = parent.frame()) {
  # A socket's path has to be short.
  base <- tempfile("entrar-", tmpdir = "/tmp")
  dir.create(base, mode = "0700")
  withr::defer(unlink(base, recursive = TRUE), frame)
  directory <- file.path(base, "entrar")
  dir.create(directory, mode = "0700")
  local_session(NA, NA, ENTRAR_RUNTIME_DIR = directory, frame = frame)
  directory
}

# Starts an agent that hands out CANARY-1, CANARY-2 and so on; its process id.
start_agent <- function(directory, frame = parent.frame()) {
  socket <- file.path(directory, "agent.sock")
  noted <- paste0(socket, ".pid")
  unlink(c(socket, noted))
  run_python(c(test_path("agent.py"), socket, Sys.getpid()))
  wait_for(file.exists(noted), "the agent")
  pid <- as.integer(readLines(noted))
  withr::defer(tools::pskill(pid), frame)
  pid
}

# Ends it as `kill -9` does: its socket stays behind.
kill_agent <- function(pid) {
  tools::pskill(pid, tools::SIGKILL)
  wait_for(!dir.exists(file.path("/proc", pid)), "the agent's end")
}

# What an agent notes when somebody has signed in.
note_sign_in <- function(directory, account, id = basename(tempfile("id"))) {
  new <- file.path(directory, "new")
  writeLines(c(id, account), new)
  file.rename(new, file.path(directory, "sign-in"))
}
