# What the installed package takes on the disk and, with COLD=1, how long its installation takes when nothing has been
# compiled before. Crates that cargo has downloaded stay where they are.

source("bench/common.R")

megabytes <- function(files) sum(file.size(files)) / 1e6

# In a copy of what git knows or would add, without anything that was built.
cold_install <- function() {
  copy <- tempfile("entrar")
  library <- tempfile("library")
  on.exit(unlink(c(copy, library), recursive = TRUE))
  lapply(c(copy, library), dir.create)
  list <- "git ls-files -z --cached --others --exclude-standard"
  stopifnot(system(paste(list, "| tar -cf - --null -T - | tar -xf - -C", copy)) == 0)
  start <- Sys.time()
  install <- "env -u ENTRAR_TARGET_DIR -u CARGO_TARGET_DIR R CMD INSTALL --library="
  status <- system(paste0(install, library, " ", copy, " >/dev/null 2>&1"))
  stopifnot(status == 0)
  as.numeric(Sys.time() - start, units = "secs")
}

package <- find.package("entrar")
files <- list.files(package, recursive = TRUE, full.names = TRUE)
sizes <- list(
  "all" = files,
  "shared object" = Sys.glob(file.path(package, "libs", "*.so")),
  "commands" = Sys.glob(file.path(package, "bin", "*"))
)
sizes <- vapply(sizes, megabytes, 0)
show_table(
  "Installed size, MB",
  data.frame(what = format(names(sizes)), size = sprintf("%.1f", sizes)),
  compare("all", sizes[["all"]], 15, " MB")
)

if (Sys.getenv("COLD") == "1") {
  seconds <- cold_install()
  show_table(
    "Cold R CMD INSTALL, seconds",
    data.frame(cores = parallel::detectCores(), seconds = sprintf("%.0f", seconds)),
    compare("installation", seconds, 180, " s")
  )
} else {
  cat("\nCOLD=1 times an installation from nothing too.\n")
}
