# Puts what was built into the package: the shared object into libs/, the commands into bin/.
# R sources this in src/ instead of its own step, which would copy the shared object only.

package_dir <- R_PACKAGE_DIR

put <- function(files, directory, mode) {
  directory <- file.path(package_dir, directory)
  dir.create(directory, recursive = TRUE, showWarnings = FALSE)
  installed <- file.path(directory, basename(files))
  # A file in use can be replaced, but not written to.
  unlink(installed)
  if (!all(file.copy(files, installed))) {
    stop("cannot install ", toString(files), " in ", directory)
  }
  Sys.chmod(installed, mode, use_umask = FALSE)
}

put(
  c(paste0(R_PACKAGE_NAME, SHLIB_EXT), Sys.glob("symbols.rds")),
  paste0("libs", R_ARCH),
  "0755"
)
put(Sys.glob("bin/*"), "bin", "0755")
unlink("bin", recursive = TRUE)
