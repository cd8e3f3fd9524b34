# Access tokens that tell of themselves, as JSON Web Tokens do: a claim is a part of the token's middle. The signature is
# secret, and that of nobody.

web_token <- function(...) {
  part <- function(text) gsub("[=\n]", "", jsonlite::base64url_enc(charToRaw(enc2utf8(text))))
  claims <- list(...)
  text <- if (length(claims)) jsonlite::toJSON(claims, auto_unbox = TRUE) else "{}"
  paste(part("{}"), part(text), canary, sep = ".")
}

ada <- function(...) {
  claims <- list(tid = "tenant-1", upn = "ada@example.com", aud = storage, appid = "app-1")
  do.call(web_token, utils::modifyList(claims, list(...)))
}
