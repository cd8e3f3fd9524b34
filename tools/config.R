# Writes src/Makevars (src/Makevars.win on Windows) from its template. configure runs it.
# Began as rextendr's scaffold.

source("tools/msrv.R")

system_name <- Sys.info()[["sysname"]]
windows <- .Platform$OS.type == "windows"

# A directory outside src/rust outlives the installation, so that the next one builds only what
# changed. Without one, a plain `R CMD INSTALL .` leaves no build products behind.
kept_target <- Sys.getenv("ENTRAR_TARGET_DIR")
keep <- nzchar(kept_target)

# Crates packed into the sources, for a build without a network.
vendored <- file.exists("src/rust/vendor.tar.xz")

# A path as make hands it to the shell.
in_makefile <- function(path) gsub("$", "$$", shQuote(path, "sh"), fixed = TRUE)

values <- c(
  TARGET_DIR = if (keep) normalizePath(kept_target, "/", mustWork = FALSE) else "./rust/target",
  CLEAN = if (keep) "" else '"$(TARGET_DIR)"',
  # Those that were judged, whatever comes first on make's PATH.
  CARGO = in_makefile(rust[["cargo"]]),
  RUSTC = in_makefile(rust[["rustc"]]),
  CARGO_FLAGS = if (vendored) "-j 2 --offline" else "",
  # Halves the shared object. Apple's linker has neither flag; it wants frameworks named (untried).
  LINK_FLAGS = switch(
    system_name,
    Linux = "-Wl,--gc-sections -Wl,--strip-debug",
    Darwin = "-framework Security -framework CoreFoundation",
    ""
  )
)

output <- if (windows) "src/Makevars.win" else "src/Makevars"
lines <- readLines(paste0(output, ".in"))
for (name in names(values)) {
  lines <- gsub(paste0("@", name, "@"), values[[name]], lines, fixed = TRUE)
}
connection <- file(output, open = "wb")
writeLines(lines, connection, sep = "\n")
close(connection)
