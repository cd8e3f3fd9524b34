# Finds the cargo and the rustc to build with: the first of each that is new enough. Stops an installation that cannot
# work, with words that help. The lowest version that will do is the `rust-version` of src/rust/Cargo.toml.

minimum_rust <- local({
  line <- grep("^rust-version *=", readLines("src/rust/Cargo.toml"), value = TRUE)
  gsub("[^0-9.]", "", line)
})

# DESCRIPTION tells people the same number: it must not lag behind.
if (!grepl(paste("rustc >=", minimum_rust), read.dcf("DESCRIPTION", "SystemRequirements"))) {
  stop("DESCRIPTION's SystemRequirements must ask for rustc >= ", minimum_rust)
}

# Each place of a command, in the order of the PATH. rustup's directory comes last: a session that was not started from a
# login shell often lacks it, and a distribution's older Rust may come before it.
places_of <- function(command) {
  path <- strsplit(Sys.getenv("PATH"), .Platform$path.sep, fixed = TRUE)[[1]]
  # One that is relative would be another one for make.
  path <- grep("^(/|[A-Za-z]:)", path, value = TRUE)
  directories <- unique(c(path, file.path(Sys.getenv("HOME"), ".cargo", "bin")))
  suffix <- if (.Platform$OS.type == "windows") ".exe" else ""
  files <- file.path(directories, paste0(command, suffix))
  files[file.access(files, 1) == 0 & !dir.exists(files)]
}

# "1.95.0" of "rustc 1.95.0 (59807616e 2026-04-14)"; `NA` where the command cannot tell, as rustup's without a toolchain.
version_of <- function(file) {
  lines <- suppressWarnings(system2(file, "--version", stdout = TRUE, stderr = FALSE))
  found <- grep("^(cargo|rustc) [0-9]+[.][0-9.]+", lines, value = TRUE)
  if (length(found) == 0) NA_character_ else sub("^[a-z]+ ([0-9.]+).*", "\\1", found[[1]])
}

new_enough <- function(version) {
  !is.na(version) && utils::compareVersion(version, minimum_rust) >= 0
}

# Their paths, named "cargo" and "rustc".
rust <- local({
  judged <- list()
  for (command in c("cargo", "rustc")) {
    files <- places_of(command)
    judged[[command]] <- stats::setNames(vapply(files, version_of, ""), files)
  }
  chosen <- lapply(judged, function(versions) names(Filter(new_enough, versions)))
  if (all(lengths(chosen) > 0)) {
    return(vapply(chosen, `[[`, "", 1))
  }
  found <- unlist(lapply(unname(judged), function(versions) {
    sprintf(
      "  %s: %s",
      names(versions),
      ifelse(is.na(versions), "does not tell its version", versions)
    )
  }))
  missing <- names(judged)[lengths(judged) == 0]
  message(paste(
    c(
      "",
      sprintf(
        "entrar's core is written in Rust, and needs cargo and rustc %s or newer.",
        minimum_rust
      ),
      if (length(found) > 0) c("Found, on the PATH and in ~/.cargo/bin:", found),
      if (length(missing) > 0) {
        sprintf("Not found, on the PATH and in ~/.cargo/bin: %s", toString(missing))
      },
      "How to get a newer one:",
      "  anywhere          https://rustup.rs, then `rustup update`",
      "  Debian 12         apt-get install rustc-web cargo-web",
      "  Ubuntu            apt-get install rustc-1.NN cargo-1.NN, and put /usr/lib/rust-1.NN/bin first in PATH",
      "  Fedora            dnf install rust cargo",
      "  macOS             brew install rust",
      ""
    ),
    collapse = "\n"
  ))
  stop("entrar needs cargo and rustc >= ", minimum_rust, call. = FALSE)
})
message(sprintf("Using %s\n", rust[c("cargo", "rustc")]), appendLF = FALSE)
