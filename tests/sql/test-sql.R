# Tokens for SQL Server, as far as the login that carries them. Run in a session whose tokens live for three seconds.

sql_resource <- "https://database.windows.net/"

test_that("a login carries the token, and later ones carry the next", {
  server <- local_sql_server()
  first <- azure_token(sql_resource)
  received <- log_in(server, first)
  expect_same_token(received, first)
  expect_identical(audience(received), sql_resource)

  Sys.sleep(4)
  second <- azure_token(sql_resource)
  received <- log_in(server, second)
  expect_same_token(received, second)
  expect_identical(audience(received), sql_resource)
  expect_false(identical(first, second), label = "the second is the old token")
})

test_that("odbc logs in with the token", {
  skip_if_not_installed("odbc")
  drivers <- odbc::odbcListDrivers()$name
  driver <- grep("^ODBC Driver [0-9]+ for SQL Server$", drivers, value = TRUE)
  skip_if(length(driver) == 0, "Microsoft's driver is not installed")
  server <- local_sql_server()
  token <- azure_token(sql_resource)
  connection <- DBI::dbConnect(
    odbc::odbc(),
    driver = driver[1],
    server = paste0("127.0.0.1,", server$port),
    Encrypt = "no",
    attributes = list(azure_token = token)
  )
  withr::defer(DBI::dbDisconnect(connection))
  expect_same_token(received_by(server), token)
})
