# R CMD check starts the tests here.
library(testthat)
library(entrar)

test_check("entrar")
