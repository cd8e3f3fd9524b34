# Renders the vignettes with their code run, each in an R process of its own, and fails on any error.
# Needs a session of `entrar demo` beside Azurite (tests/azurite/run.py).
#
# usage: Rscript tools/documentation.R DIRECTORY

output <- commandArgs(trailingOnly = TRUE)[[1]]
dir.create(output, showWarnings = FALSE, recursive = TRUE)
output <- normalizePath(output)
stopifnot(
  "there is no session of `entrar demo`" = nzchar(Sys.getenv("ENTRAR_DEMO_GRAPH")),
  "Azurite is not there" = nzchar(Sys.getenv("AZURITE_BLOB"))
)

render <- function(file, output) {
  path <- rmarkdown::render(
    file,
    output_dir = output,
    intermediates_dir = tempfile(),
    quiet = TRUE,
    envir = new.env(parent = globalenv())
  )
  readLines(path, warn = FALSE)
}

for (file in list.files("vignettes", "[.]Rmd$", full.names = TRUE)) {
  started <- Sys.time()
  page <- xfun::Rscript_call(render, list(file, output))
  # Two parts of a JSON Web Token.
  if (any(grepl("eyJ[A-Za-z0-9_-]+[.]eyJ", page))) {
    stop(file, " shows a token.")
  }
  seconds <- as.numeric(Sys.time() - started, units = "secs")
  cat(sprintf("%s: %d lines of output, %.1f s\n", file, sum(grepl("#&gt;", page)), seconds))
}
