# What the broker adds to an exchange, how many it makes, and what it holds in memory. The tenant behind it is the
# canned server: an emulated one signs each token, which takes longer than all that is measured here. Every connection
# asks for a person of its own, so no exchange waits for another one's turn, and none is shared.

source("bench/common.R")

broker <- Sys.getenv("BENCH_BROKER")
rounds <- unless_short(5, 1)
# A hundred thousand exchanges in all, unless it is short.
requests <- unless_short(c(20000L, 40000L, 40000L), c(20L, 160L, 512L))
plan <- data.frame(connections = c(1, 16, 256), requests = requests)

memory <- function(field) {
  status <- readLines(file.path("/proc", Sys.getenv("BENCH_BROKER_PID"), "status"))
  as.numeric(gsub("[^0-9]", "", grep(paste0("^", field, ":"), status, value = TRUE))) / 1024
}

measure <- function(connections, requests) {
  each <- requests / rounds
  results <- replicate(rounds, simplify = FALSE, {
    direct <- load_server("token", canned, connections, each)
    through <- load_server("rpc", broker, connections, each)
    c(direct = direct, through = through, added = through[["median"]] - direct[["median"]])
  })
  over_rounds(results)
}

idle <- memory("VmRSS")
table <- t(mapply(measure, plan$connections, plan$requests))
added <- table[1, "added"] / 1e3

show_table(
  sprintf("Exchanges through the broker, microseconds (medians of %d rounds)", rounds),
  data.frame(
    connections = plan$connections,
    direct = sprintf("%.1f", table[, "direct.median"]),
    broker = sprintf("%.1f", table[, "through.median"]),
    "direct p99" = sprintf("%.1f", table[, "direct.p99"]),
    "broker p99" = sprintf("%.1f", table[, "through.p99"]),
    "direct/s" = sprintf("%.0f", table[, "direct.rate"]),
    "broker/s" = sprintf("%.0f", table[, "through.rate"]),
    check.names = FALSE
  ),
  c(
    "The broker runs on one thread; the tenant and who asks share the machine's cores with it.",
    "With many connections it is their number, not the work, that makes an exchange take longer.",
    compare("added at one connection", added, 0.2, " ms")
  )
)
show_table(
  "The broker's resident memory, MB",
  data.frame(
    idle = sprintf("%.1f", idle),
    after = sprintf("%.1f", memory("VmRSS")),
    most = sprintf("%.1f", memory("VmHWM"))
  ),
  sprintf("After %d exchanges, 256 of them at once in the end.", sum(plan$requests))
)
