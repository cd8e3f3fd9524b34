# What a process holds, and what ends it.

# Kilobytes of its own in memory (what it reads from files the system may drop at any time), files open, threads running.
resources <- function() {
  gc(full = TRUE)
  status <- readLines("/proc/self/status")
  number <- function(name) {
    as.numeric(gsub("[^0-9]", "", grep(paste0("^", name, ":"), status, value = TRUE)))
  }
  c(memory = number("RssAnon"), files = length(dir("/proc/self/fd")), threads = number("Threads"))
}

# A shell's commands that send this process a SIGINT, and note the time in the file `when`.
interrupt_from_shell <- function(when) {
  sprintf("date +%%s.%%N >'%s'; kill -INT %d", when, Sys.getpid())
}

# Sends this process, or this process group, a SIGINT after `seconds`. To be called where it is caught already: a slow
# machine may come no further before it arrives. While R starts a command it is deaf to the signal, so the command waits
# until that is over.
interrupt_after <- function(seconds, to = Sys.getpid()) {
  go <- tempfile("go-")
  command <- sprintf(
    "until [ -e '%s' ]; do sleep 0.01; done; sleep %s; kill -INT %d",
    go,
    seconds,
    to
  )
  system2("sh", c("-c", shQuote(command)), wait = FALSE)
  invisible(file.create(go))
}

# What a script prints that runs in an R of its own, in a process group of its own. It has `interrupt_after()` too.
run_script <- function(...) {
  helper <- c("interrupt_after <-", deparse(interrupt_after))
  script <- withr::local_tempfile(lines = c("library(entrar)", helper, ...))
  rscript <- file.path(R.home("bin"), "Rscript")
  suppressWarnings(
    system2("setsid", c("--wait", rscript, "--vanilla", script), stdout = TRUE, stderr = TRUE)
  )
}
