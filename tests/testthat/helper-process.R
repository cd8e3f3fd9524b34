# What a process holds.

# Kilobytes in memory, files open, threads running.
resources <- function() {
  gc(full = TRUE)
  status <- readLines("/proc/self/status")
  number <- function(name) {
    as.numeric(gsub("[^0-9]", "", grep(paste0("^", name, ":"), status, value = TRUE)))
  }
  c(memory = number("VmRSS"), files = length(dir("/proc/self/fd")), threads = number("Threads"))
}
