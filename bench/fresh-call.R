# A fresh call from R over a kept-alive loopback connection. All peers ask the same server, which costs next to
# nothing, and take turns.

source("bench/common.R")

rounds <- unless_short(7, 1)
calls <- unless_short(2000, 20)
server <- Sys.getenv("BENCH_CANNED_PID")

# On one core the figures are work alone. On two, each side also has to be woken on its own core, as happens to whoever
# waits for a server; what that costs depends on the machine. Without taskset the system chooses.
cores <- parallel::detectCores()
can_pin <- nzchar(Sys.which("taskset")) && cores > 1
places <- if (can_pin) c("one core" = "0", "two cores" = "1") else c("any core" = NA)

# Where a process may run, and the threads and commands that it starts from now on.
pin <- function(process, core) {
  if (can_pin) {
    stopifnot(system2("taskset", c("-cp", core, process), stdout = FALSE) == 0)
  }
}

# Times of some evaluations of `call`, in microseconds: their median and 99 % quantile.
time_calls <- function(call, calls) {
  times <- numeric(calls)
  for (i in seq_len(calls)) {
    start <- Sys.time()
    call()
    times[[i]] <- Sys.time() - start
  }
  stats::setNames(stats::quantile(times * 1e6, c(0.5, 0.99)), c("median", "p99"))
}

# R's own socket with much the same request: it sends, and reads as many bytes as the first reply had.
socket_call <- function() {
  port <- as.integer(sub(".*:", "", canned))
  connection <- socketConnection("127.0.0.1", port, open = "r+b", blocking = TRUE)
  body <- sprintf('{"method":"delegated_azure_token","params":["%s"]}', storage)
  head <- c(
    "POST /delegated_azure_token HTTP/1.1",
    "content-type: application/json",
    paste("x-rs-session-server-rpc-cookie:", cookie),
    paste("host:", sub("http://", "", canned)),
    paste("content-length:", nchar(body))
  )
  request <- paste0(paste(c(head, "", ""), collapse = "\r\n"), body)
  writeChar(request, connection, eos = NULL)
  head <- readLines(connection, 4)
  length <- as.integer(sub("Content-Length: ", "", head[[3]]))
  readBin(connection, "raw", length)
  length <- sum(nchar(head) + 2L) + length
  function() {
    writeChar(request, connection, eos = NULL)
    readBin(connection, "raw", length)
  }
}

rstudioapi_version <- if (requireNamespace("rstudioapi", quietly = TRUE)) {
  utils::packageVersion("rstudioapi")
}
has_rstudioapi <- !is.null(rstudioapi_version) && rstudioapi_version >= "0.18"

pin(server, "0")
ask_by_socket <- socket_call()
peers <- list(
  "bare socket, compiled" = function() load_server("rpc", canned, 1, calls)[c("median", "p99")],
  "bare socket, R's own" = function() time_calls(ask_by_socket, calls),
  "entrar" = function() time_calls(function() entrar::getDelegatedAzureToken(storage), calls),
  "rstudioapi" = function() {
    time_calls(function() rstudioapi::getDelegatedAzureToken(storage), calls / 4)
  }
)
peers <- peers[c(TRUE, TRUE, TRUE, has_rstudioapi)]

for (place in names(places)) {
  pin(Sys.getpid(), places[[place]])
  # The first round warms up.
  results <- lapply(seq_len(rounds + 1), function(round) lapply(peers, function(peer) peer()))[-1]
  table <- sapply(names(peers), function(name) over_rounds(lapply(results, `[[`, name)))
  medians <- table["median", ]
  entrar <- medians[["entrar"]]
  notes <- compare("entrar / compiled socket", entrar / medians[["bare socket, compiled"]], 1.5)
  if (has_rstudioapi) {
    name <- paste("entrar / rstudioapi", rstudioapi_version)
    notes <- c(notes, compare(name, entrar / medians[["rstudioapi"]], 0.2))
  }
  show_table(
    sprintf("Fresh call from R, client and server on %s, microseconds", place),
    data.frame(
      peer = format(names(peers)),
      median = sprintf("%.1f", medians),
      p99 = sprintf("%.1f", table["p99", ]),
      ratio = sprintf("%.2f", medians / entrar)
    ),
    notes
  )
}
if (!has_rstudioapi) {
  cat("  rstudioapi 0.18 or newer is not installed here.\n")
}

pin(server, paste0("0-", cores - 1))
