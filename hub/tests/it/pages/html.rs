//! As much of HTML as our own pages are made of, read strictly.

/// A start tag, with its attributes as they stand, and the text up to the next tag.
#[derive(Clone, Debug)]
pub struct Element {
    pub name: String,
    pub attributes: Vec<(String, String)>,
    pub text: String,
    /// The names of the elements that it stands in, the outermost first.
    pub inside: Vec<String>,
}

impl Element {
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// The elements in order. Panics where a tag is not closed, or another one is.
pub fn elements(html: &str) -> Vec<Element> {
    let html = html.strip_prefix("<!DOCTYPE html>").expect("a doctype");
    let mut elements: Vec<Element> = Vec::new();
    let mut open: Vec<String> = Vec::new();
    for part in html.split('<').skip(1) {
        let (tag, text) = part.split_once('>').expect("a tag ends");
        assert!(!text.contains('>'), "a > that ends no tag: {part}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "{part}");
            continue;
        }
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        elements.push(Element {
            name: name.to_owned(),
            attributes: read(attributes),
            text: text.to_owned(),
            inside: open.clone(),
        });
        if !matches!(name, "meta" | "input") {
            open.push(name.to_owned());
        }
    }
    assert!(open.is_empty(), "{open:?}");
    elements
}

/// `name="value"` or a bare name, with one space between.
fn read(mut rest: &str) -> Vec<(String, String)> {
    let mut attributes = Vec::new();
    while !rest.is_empty() {
        let end = rest.find([' ', '=']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        assert!(
            name.chars().all(|c| c.is_ascii_lowercase() || c == '-'),
            "{rest}"
        );
        let mut value = "";
        rest = after;
        if let Some(quoted) = after.strip_prefix("=\"") {
            (value, rest) = quoted.split_once('"').expect("a value ends");
        }
        attributes.push((name.to_owned(), value.to_owned()));
        assert!(rest.is_empty() || rest.starts_with(' '), "{rest}");
        rest = rest.trim_start_matches(' ');
    }
    attributes
}
