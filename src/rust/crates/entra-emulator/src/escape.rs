//! Text for HTML and XML.

/// `text` for between tags and within attributes in double quotes. Control characters but for white space are left out:
/// neither language has them.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other if other.is_control() && !other.is_whitespace() => {}
            other => escaped.push(other),
        }
    }
    escaped
}
