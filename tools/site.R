# Builds the site into .build/site, from the installed package and without a network. In a session of
# `entrar demo` beside Azurite, where `make site` runs it, the articles and examples show what their code prints.

# It would ask CRAN whether the package is there, and where others' help is.
options(pkgdown.internet = FALSE)
unlink(".build/site", recursive = TRUE)
pkgdown::build_site(devel = FALSE, install = FALSE, new_process = FALSE, preview = FALSE)

# The README links to the vignettes' sources, where a clone has them; the site has them as articles.
index <- ".build/site/index.html"
links <- gsub('"vignettes/([a-z-]+)[.]Rmd"', '"articles/\\1.html"', readLines(index))
writeLines(links, index)
