# What a process holds, and what ends it.

# Kilobytes in memory, files open, threads running.
resources <- function() {
  gc(full = TRUE)
  status <- readLines("/proc/self/status")
  number <- function(name) {
    as.numeric(gsub("[^0-9]", "", grep(paste0("^", name, ":"), status, value = TRUE)))
  }
  c(memory = number("VmRSS"), files = length(dir("/proc/self/fd")), threads = number("Threads"))
}

# A shell's commands that send this process a SIGINT, and note the time in the file `when`.
interrupt_from_shell <- function(when) {
  sprintf("date +%%s.%%N >'%s'; kill -INT %d", when, Sys.getpid())
}

# Sends this process a SIGINT after `seconds`. To be called where it is caught already: a slow machine may come no
# further before it arrives.
interrupt_after <- function(seconds) {
  command <- sprintf("sleep %s; kill -INT %d", seconds, Sys.getpid())
  system2("sh", c("-c", shQuote(command)), wait = FALSE)
}

# What a script prints that runs in an R of its own, in a process group of its own.
run_script <- function(...) {
  script <- withr::local_tempfile(lines = c("library(entrar)", ...))
  rscript <- file.path(R.home("bin"), "Rscript")
  suppressWarnings(
    system2("setsid", c("--wait", rscript, "--vanilla", script), stdout = TRUE, stderr = TRUE)
  )
}
