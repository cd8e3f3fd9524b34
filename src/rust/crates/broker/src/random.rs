//! Random text that nobody guesses.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// So many random bytes, in the letters of base64 for URLs.
///
/// # Errors
/// When the operating system gives none.
pub fn text<const BYTES: usize>() -> Result<String, getrandom::Error> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_two_texts_are_alike() {
        let one = super::text::<16>().unwrap();
        assert_eq!(one.len(), 22);
        assert_ne!(one, super::text::<16>().unwrap());
    }
}
