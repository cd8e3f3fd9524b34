//! Random identifiers and secrets, from the operating system.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::errors::Error;

/// A random GUID (version 4), in lower case: what Entra calls tenants, requests and tokens by.
pub(crate) fn guid() -> Result<String, Error> {
    let random = u128::from_be_bytes(bytes()?);
    let version_and_variant = (0x4 << 76) | (0b10 << 62);
    let bits = (random & !((0xf << 76) | (0b11 << 62))) | version_and_variant;
    let hex = format!("{bits:032x}");
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32]
        .map(|range| hex.get(range).unwrap_or_default().to_owned());
    Ok(parts.join("-"))
}

/// `N` random bytes in base64url.
pub(crate) fn text<const N: usize>() -> Result<String, Error> {
    Ok(URL_SAFE_NO_PAD.encode(bytes::<N>()?))
}

fn bytes<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| Error::Randomness(error.to_string()))?;
    Ok(bytes)
}
