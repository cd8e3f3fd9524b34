# The same list as rstudioapi 0.19's, for each good reply that a server is known to send.

jwt_like <- strrep("CANARY", 200)
good_replies <- list(
  full = list(
    access_token = jwt_like,
    token_type = "Bearer",
    expires_in = 3599,
    ext_expires_in = 3599,
    scope = "https://storage.azure.com/user_impersonation",
    id_token = "CANARY-id"
  ),
  usual = list(access_token = jwt_like, token_type = "Bearer", expires_in = 3599, scope = "a b"),
  "numbers as strings" = list(
    access_token = jwt_like,
    token_type = "Bearer",
    expires_in = "3599",
    ext_expires_in = "3599",
    scope = "a"
  ),
  "no scope" = list(access_token = jwt_like, token_type = "Bearer", expires_in = 3599)
)

# What rstudioapi 0.19 makes of such a token: the lifetimes give way to `expires_at`.
recorded <- function(token) {
  token$expires_at <- as.numeric(Sys.time()) + as.numeric(token$expires_in)
  token$expires_in <- NULL
  token$ext_expires_in <- NULL
  token
}

expect_same_list <- function(ours, theirs, label) {
  expect_lt(abs(ours$expires_at - theirs$expires_at), 60, label = label)
  same <- setdiff(names(theirs), "expires_at")
  expect_true(identical(unclass(ours)[same], theirs[same]), label = label)
  # We always have a scope, theirs only if there was one.
  surplus <- setdiff(names(ours), names(theirs))
  expect_true(all(surplus == "scope" & is.na(ours$scope)), label = label)
}

for (with_result in c(TRUE, FALSE)) {
  for (name in names(good_replies)) {
    label <- paste0(name, if (!with_result) ", without `result`")
    test_that(paste("the list is the same for a reply:", label), {
      body <- list(token = good_replies[[name]])
      if (with_result) {
        body <- c(list(result = TRUE), body)
      }
      local_session(wire_address(list(reply(jsonlite::toJSON(body, auto_unbox = TRUE)))))
      ours <- getDelegatedAzureToken(storage)
      expect_same_list(ours, recorded(good_replies[[name]]), label)
      if (
        requireNamespace("rstudioapi", quietly = TRUE) && packageVersion("rstudioapi") >= "0.18"
      ) {
        expect_same_list(ours, rstudioapi::getDelegatedAzureToken(storage), label)
      }
    })
  }
}
