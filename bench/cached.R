# A token that is kept: what it costs to get at it, against other clients' caches.

source("bench/common.R")

rounds <- unless_short(7, 1)
calls <- unless_short(1e5, 100)

# Microseconds a call, the loop included.
time_loop <- function(call) {
  start <- proc.time()[["elapsed"]]
  for (i in seq_len(calls)) {
    call()
  }
  (proc.time()[["elapsed"]] - start) / calls * 1e6
}

resident <- function() {
  line <- grep("^VmRSS:", readLines("/proc/self/status"), value = TRUE)
  as.numeric(gsub("[^0-9]", "", line)) / 1024
}

# httr2 keeps a token in memory and looks at its expiry at each request.
httr2_cached <- function() {
  client <- httr2::oauth_client("bench", "http://127.0.0.1/")
  cache <- httr2:::cache_mem(client, NULL)
  cache$set(httr2::oauth_token("secret", expires_in = 3600))
  function() {
    token <- cache$get()
    if (!httr2:::token_has_expired(token)) token$access_token
  }
}

# AzureAuth's object is valid or not; `NA` makes it without asking Entra ID.
azure_auth_cached <- function() {
  token <- AzureAuth::get_azure_token(storage, "tenant", "app", password = "x", use_cache = NA)
  token$credentials <- list(access_token = "secret", expires_on = as.numeric(Sys.time()) + 3600)
  function() if (token$validate()) token$credentials$access_token
}

peers <- list("entrar, azure_token()" = function() entrar::azure_token(storage))
if (requireNamespace("httr2", quietly = TRUE)) {
  peers[["httr2, its cache"]] <- httr2_cached()
}
if (requireNamespace("AzureAuth", quietly = TRUE)) {
  peers[["AzureAuth, validate()"]] <- azure_auth_cached()
}

# The first round warms up.
results <- lapply(seq_len(rounds + 1), function(round) vapply(peers, time_loop, 0))[-1]
medians <- over_rounds(results)
# R's own LD_LIBRARY_PATH may keep Python from finding its ssl module.
identity <- system2(
  "env",
  c("-u", "LD_LIBRARY_PATH", ".build/venv/bin/python", "-B", "bench/azure_identity.py"),
  stdout = TRUE
)
medians <- c(medians, "azure-identity in Python" = as.numeric(identity))

before <- resident()
more <- unless_short(1e6, 1000)
for (i in seq_len(more)) {
  entrar::azure_token(storage)
}
grown <- resident() - before

show_table(
  sprintf(
    "A token that is kept, microseconds a call (medians of %d rounds of %.0f)",
    rounds,
    calls
  ),
  data.frame(
    peer = format(names(medians)),
    median = sprintf("%.2f", medians),
    ratio = sprintf("%.2f", medians / medians[[1]])
  ),
  c(
    compare("azure_token()", medians[[1]], 3, " us"),
    compare(sprintf("memory after %.0f more calls", more), grown, 1, " MB more")
  )
)
