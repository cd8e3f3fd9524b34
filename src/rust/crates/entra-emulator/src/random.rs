//! Random identifiers and secrets, from the operating system.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::errors::Error;

/// What a code that a person types is made of: consonants alone, which spell no word and are not taken for digits.
const TYPED: [char; 20] = [
    'B', 'C', 'D', 'F', 'G', 'H', 'J', 'K', 'L', 'M', 'N', 'P', 'Q', 'R', 'S', 'T', 'V', 'W', 'X',
    'Z',
];

/// A random GUID (version 4), in lower case: what Entra calls tenants, requests and tokens by.
pub(crate) fn guid() -> Result<String, Error> {
    Ok(guid_of(bytes()?))
}

/// These bytes as a GUID (version 4), in lower case.
pub(crate) fn guid_of(bytes: [u8; 16]) -> String {
    let version_and_variant = (0x4 << 76) | (0b10 << 62);
    let bits = (u128::from_be_bytes(bytes) & !((0xf << 76) | (0b11 << 62))) | version_and_variant;
    let hex = format!("{bits:032x}");
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32]
        .map(|range| hex.get(range).unwrap_or_default().to_owned());
    parts.join("-")
}

/// `N` random bytes in base64url.
pub(crate) fn text<const N: usize>() -> Result<String, Error> {
    Ok(URL_SAFE_NO_PAD.encode(bytes::<N>()?))
}

/// Nine letters for a person to type.
pub(crate) fn user_code() -> Result<String, Error> {
    let letters = bytes::<9>()?.map(|byte| {
        // 256 is no multiple of 20: a few letters come a little more often, which matters to nobody here.
        TYPED.get(usize::from(byte) % TYPED.len()).copied()
    });
    Ok(letters.into_iter().flatten().collect())
}

fn bytes<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| Error::Randomness(error.to_string()))?;
    Ok(bytes)
}
