# Stops an installation that cannot work, with words that help: no cargo, no rustc, or a rustc that
# is too old. The lowest version that will do is the `rust-version` of src/rust/Cargo.toml.

# A session that was not started from a login shell often lacks rustup's directory.
Sys.setenv(
  PATH = paste(
    Sys.getenv("PATH"),
    file.path(Sys.getenv("HOME"), ".cargo", "bin"),
    sep = .Platform$path.sep
  )
)

minimum_rust <- local({
  line <- grep("^rust-version *=", readLines("src/rust/Cargo.toml"), value = TRUE)
  gsub("[^0-9.]", "", line)
})

# DESCRIPTION tells people the same number: it must not lag behind.
if (!grepl(paste("rustc >=", minimum_rust), read.dcf("DESCRIPTION", "SystemRequirements"))) {
  stop("DESCRIPTION's SystemRequirements must ask for rustc >= ", minimum_rust)
}

# "rustc 1.95.0 (59807616e 2026-04-14)", or NA where there is no such command
version_line <- function(command) {
  if (!nzchar(Sys.which(command))) {
    return(NA_character_)
  }
  lines <- suppressWarnings(system2(command, "--version", stdout = TRUE))
  if (length(lines) == 0) NA_character_ else lines[[1]]
}

local({
  cargo <- version_line("cargo")
  rustc <- version_line("rustc")
  how <- c(
    "How to get a newer one:",
    "  anywhere          https://rustup.rs, then `rustup update`",
    "  Debian 12         apt-get install rustc-web cargo-web",
    "  Ubuntu            apt-get install rustc-1.NN cargo-1.NN, and put /usr/lib/rust-1.NN/bin first in PATH",
    "  Fedora            dnf install rust cargo",
    "  macOS             brew install rust"
  )
  refuse <- function(why) {
    message(paste(c("", why, how, ""), collapse = "\n"))
    stop("entrar needs cargo and rustc >= ", minimum_rust, call. = FALSE)
  }
  if (is.na(cargo) || is.na(rustc)) {
    refuse("entrar's core is written in Rust, and `cargo` or `rustc` was not found on the PATH.")
  }
  installed <- sub("^rustc ([0-9.]+).*", "\\1", rustc)
  if (utils::compareVersion(installed, minimum_rust) < 0) {
    refuse(sprintf("entrar needs rustc %s or newer; this is %s.", minimum_rust, installed))
  }
  message("Using ", cargo, "\nUsing ", rustc)
})
