test_that("the option beats the variable, and both beat the default", {
  withr::local_options(entrar.timeout = NULL)
  withr::local_envvar(ENTRAR_TIMEOUT = NA)
  expect_identical(call_timeout(), 30)
  withr::local_envvar(ENTRAR_TIMEOUT = "2.5")
  expect_identical(call_timeout(), 2.5)
  withr::local_options(entrar.timeout = 7L)
  expect_identical(call_timeout(), 7)
})

test_that("a timeout that is none is an error that names where it was set", {
  withr::local_options(entrar.timeout = NULL)
  for (bad in c("soon", "0", "-1", "Inf", "86401", "NaN")) {
    withr::local_envvar(ENTRAR_TIMEOUT = bad)
    expect_error(call_timeout(), "The variable ENTRAR_TIMEOUT must be one number")
  }
  for (bad in list("30", NA, c(1, 2), -1, list(1))) {
    withr::local_options(entrar.timeout = bad)
    expect_error(call_timeout(), "The option `entrar.timeout` must be one number")
  }
})
