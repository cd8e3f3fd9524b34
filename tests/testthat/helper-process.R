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

# Sends this process a SIGINT after `seconds`, and returns the file that says when.
interrupt_after <- function(seconds) {
  when <- tempfile("interrupt-")
  command <- sprintf("sleep %s; date +%%s.%%N > %s; kill -INT %d", seconds, when, Sys.getpid())
  system2("sh", c("-c", shQuote(command)), wait = FALSE)
  when
}

# What a script prints that runs in an R of its own, in a process group of its own.
run_script <- function(...) {
  script <- withr::local_tempfile(lines = c("library(entrar)", ...))
  rscript <- file.path(R.home("bin"), "Rscript")
  suppressWarnings(
    system2("setsid", c("--wait", rscript, "--vanilla", script), stdout = TRUE, stderr = TRUE)
  )
}
