# Headers for clients that take any.

test_that("curl sends the headers", {
  handle <- curl::new_handle(unrestricted_auth = FALSE)
  curl::handle_setheaders(handle, .list = azure_headers("graph"))
  reply <- curl::curl_fetch_memory(paste0(demo_graph, "/v1.0/me"), handle)
  expect_identical(reply$status_code, 200L)
  expect_match(rawToChar(reply$content), "Ada Example", fixed = TRUE)
})

test_that("httr sends the headers", {
  skip_if_not_installed("httr")
  headers <- httr::add_headers(.headers = unlist(azure_headers("graph")))
  reply <- httr::GET(
    paste0(demo_graph, "/v1.0/me"),
    headers,
    httr::config(unrestricted_auth = FALSE)
  )
  expect_identical(httr::content(reply)$displayName, "Ada Example")
  # What the documentation warns of, printed nowhere.
  shown <- shown_by(print(reply$request))
  expect_true(any(grepl(azure_token("graph"), shown, fixed = TRUE)), label = "httr shows the token")
})

test_that("httr2 sends the headers, and hides them", {
  me <- request(paste0(demo_graph, "/v1.0/me")) |> req_headers(!!!azure_headers("graph"))
  expect_identical(resp_body_json(req_perform(me))$displayName, "Ada Example")
  shown <- shown_by({
    print(me)
    req_dry_run(me)
  })
  expect_true(any(grepl("Authorization.*<REDACTED>", shown)), label = "the header is redacted")
  expect_hidden(list(access_token = azure_token("graph")), shown)
})
