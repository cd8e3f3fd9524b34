# What the benchmarks share: the compiled tool, the session they ask in, and the form of a table.

tool <- Sys.getenv("BENCH_TOOL")
canned <- Sys.getenv("BENCH_CANNED")
cookies <- Sys.getenv("BENCH_COOKIES")
cookie <- readLines(cookies, 1)
storage <- "https://storage.azure.com"

# Where it is only to be seen that everything runs, little of it does.
short <- nzchar(Sys.getenv("BENCH_SHORT"))
unless_short <- function(many, few) if (short) few else many

# The session of every R process here; Workbench's name is for rstudioapi, which asks for it.
Sys.setenv(
  RS_SERVER_ADDRESS = canned,
  RS_SESSION_RPC_COOKIE = cookie,
  POSIT_PRODUCT = "WORKBENCH"
)

# Has the tool send `requests` requests in all, `what` being "rpc" or "token": the median and the 99 % quantile of
# their times in microseconds, and how many there were a second.
load_server <- function(what, address, connections, requests) {
  output <- system2(tool, c("load", what, address, connections, requests, cookies), stdout = TRUE)
  numbers <- scan(text = output, quiet = TRUE)
  stats::setNames(numbers, c("median", "p99", "rate"))
}

# The median of each column over several rounds.
over_rounds <- function(rounds) {
  apply(do.call(rbind, rounds), 2, stats::median)
}

show_table <- function(title, table, notes = character()) {
  cat("\n", title, "\n", sep = "")
  print(table, row.names = FALSE)
  for (note in notes) {
    cat(strwrap(note, 100, exdent = 2, prefix = "  ", initial = "  "), sep = "\n")
  }
}

# A line that compares a figure with what it was meant to be.
compare <- function(name, figure, target, unit = "") {
  verdict <- if (short) {
    "not judged"
  } else if (figure <= target) {
    "met"
  } else {
    "MISSED"
  }
  sprintf("%s = %.3g%s; target: at most %g%s, %s", name, figure, unit, target, unit, verdict)
}
