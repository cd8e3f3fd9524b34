# The first token in a fresh R process, loading included, against R's own start.

source("bench/common.R")

rounds <- unless_short(7, 1)
scripts <- c(
  "R's own start" = "invisible()",
  "entrar loaded" = "invisible(loadNamespace(\"entrar\"))",
  "first token" = sprintf("invisible(entrar::getDelegatedAzureToken(\"%s\"))", storage)
)

milliseconds <- function(script) {
  start <- Sys.time()
  status <- system2("Rscript", c("--vanilla", "-e", shQuote(script)))
  stopifnot(status == 0)
  as.numeric(Sys.time() - start, units = "secs") * 1e3
}

# They take turns, and the first round warms up.
times <- replicate(rounds + 1, vapply(scripts, milliseconds, 0))[, -1, drop = FALSE]
median <- apply(times, 1, stats::median)
over <- median - median[[1]]

show_table(
  sprintf("First token in a fresh R process, milliseconds (medians of %d)", rounds),
  data.frame(
    process = format(names(scripts)),
    median = sprintf("%.1f", median),
    fastest = sprintf("%.1f", apply(times, 1, min)),
    over = sprintf("%.1f", over)
  ),
  compare("first token over R's own start", over[[3]], 10, " ms")
)
