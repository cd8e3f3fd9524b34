# Prints every lint in the project's R code, and fails when there is one.
folders <- intersect(c("bench", "tools"), dir())
lints <- c(
  lintr::lint_package(),
  unlist(lapply(folders, lintr::lint_dir, relative_path = FALSE), recursive = FALSE),
  lintr::lint("src/install.libs.R")
)
for (lint in lints) {
  print(lint)
}
quit(status = length(lints) > 0)
