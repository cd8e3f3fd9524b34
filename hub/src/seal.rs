//! What protects the database from who reads or writes it without the key: XChaCha20-Poly1305 for what is secret, and
//! HMAC-SHA256 for what must not be forged.
//!
//! Both bind what else is known of a row, so that one copied over another opens nothing and passes for nothing.

use std::fmt;

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use entrar_core::time::UnixTime;
use hmac::Mac as _;
use secrecy::zeroize::Zeroizing;
use sha2::{Digest as _, Sha256};

use crate::keys::{Key, Keys, hmac};

/// Random bytes of a seal. So many that no two are ever alike, whoever counts them.
const NONCE_BYTES: usize = 24;

/// What was sealed, and the name of the key that opens it.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The key's name.
    pub key_id: String,
    /// 24 random bytes, then the ciphertext with its tag of 16 bytes.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({}, {} bytes)", self.key_id, self.bytes.len())
    }
}

/// A row's MAC, and the name of the key that it was made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowMac {
    /// The key's name.
    pub key_id: String,
    /// HMAC-SHA256.
    pub mac: Vec<u8>,
}

/// Why something cannot be sealed or opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The key that it names is not in the key file.
    #[error("no key is named {0}")]
    UnknownKey(String),
    /// It was changed, or sealed for another row.
    #[error("it was changed, or is of another row")]
    Forged,
    /// It could not be sealed: no random bytes, or no key.
    #[error("it cannot be sealed: the operating system gives no random bytes")]
    NotSealed,
}

/// What a seal or a MAC is bound to: a table's name and columns, each with its length before it, so that no two lists of
/// columns read alike.
#[derive(Clone, Debug)]
pub struct Fields(Vec<u8>);

impl Fields {
    /// Of a table, no column yet.
    #[must_use]
    pub fn of(table: &str) -> Self {
        Self(Vec::with_capacity(256)).bytes(table.as_bytes())
    }

    /// With a column of bytes.
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0
            .extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        self.0.extend_from_slice(bytes);
        self
    }

    /// With a column of text.
    #[must_use]
    pub fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    /// With a column of text that may be absent, which is not the same as empty.
    #[must_use]
    pub fn optional(self, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.bytes(&[1]).text(text),
            None => self.bytes(&[0]),
        }
    }

    /// With a column that holds an integer.
    #[must_use]
    pub fn integer(self, value: i64) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    /// With a column that holds a moment.
    #[must_use]
    pub fn time(self, time: UnixTime) -> Self {
        self.bytes(&time.seconds().to_be_bytes())
    }

    /// The key's name is bound too: it comes last.
    fn under(&self, key: &Key) -> Vec<u8> {
        self.clone().text(key.id()).0
    }
}

/// Seals under the first key, bound to `fields`.
///
/// # Errors
/// [`SealError::NotSealed`].
pub fn seal(keys: &Keys, fields: &Fields, plaintext: &[u8]) -> Result<Sealed, SealError> {
    let key = keys.first().ok_or(SealError::NotSealed)?;
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(|_| SealError::NotSealed)?;
    let payload = Payload {
        msg: plaintext,
        aad: &fields.under(key),
    };
    let ciphertext = XChaCha20Poly1305::new(key.sealing().into())
        .encrypt(&XNonce::from(nonce), payload)
        .map_err(|_| SealError::NotSealed)?;
    Ok(Sealed {
        key_id: key.id().to_owned(),
        bytes: [nonce.as_slice(), &ciphertext].concat(),
    })
}

/// Opens what was sealed with the same `fields`.
///
/// # Errors
/// [`SealError::UnknownKey`], [`SealError::Forged`].
pub fn open(
    keys: &Keys,
    fields: &Fields,
    sealed: &Sealed,
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let key = named(keys, &sealed.key_id)?;
    let (nonce, ciphertext) = sealed
        .bytes
        .split_first_chunk::<NONCE_BYTES>()
        .ok_or(SealError::Forged)?;
    let payload = Payload {
        msg: ciphertext,
        aad: &fields.under(key),
    };
    XChaCha20Poly1305::new(key.sealing().into())
        .decrypt(&XNonce::from(*nonce), payload)
        .map(Zeroizing::new)
        .map_err(|_| SealError::Forged)
}

/// The MAC of a row under the first key.
///
/// # Errors
/// [`SealError::NotSealed`].
pub fn mac(keys: &Keys, fields: &Fields) -> Result<RowMac, SealError> {
    let key = keys.first().ok_or(SealError::NotSealed)?;
    let mac = hmac(key.rows()).chain_update(fields.under(key)).finalize();
    Ok(RowMac {
        key_id: key.id().to_owned(),
        mac: mac.into_bytes().to_vec(),
    })
}

/// Whether a row's MAC is right, in constant time.
///
/// # Errors
/// [`SealError::UnknownKey`], [`SealError::Forged`].
pub fn verify(keys: &Keys, fields: &Fields, mac: &RowMac) -> Result<(), SealError> {
    let key = named(keys, &mac.key_id)?;
    hmac(key.rows())
        .chain_update(fields.under(key))
        .verify_slice(&mac.mac)
        .map_err(|_| SealError::Forged)
}

/// SHA-256 of a random token: what is stored of it. Who reads it cannot find the token, for that has 128 random bits or more.
#[must_use]
pub fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

fn named<'a>(keys: &'a Keys, id: &str) -> Result<&'a Key, SealError> {
    keys.find(id)
        .ok_or_else(|| SealError::UnknownKey(id.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    const A: &str = "a AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
    const B: &str = "b AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n";
    /// Of A's name and B's bytes.
    const OTHER_A: &str = "a AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n";
    /// Of B's name and A's bytes.
    const OTHER_B: &str = "b AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";

    fn keys(lines: &[&str]) -> Keys {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        std::fs::write(&path, lines.concat()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        Keys::read(&path).unwrap()
    }

    fn row() -> Fields {
        Fields::of("table").text("alice").integer(7)
    }

    #[test]
    fn what_was_sealed_is_opened_and_no_two_seals_are_alike() {
        let keys = keys(&[A]);
        let one = seal(&keys, &row(), b"canary").unwrap();
        let two = seal(&keys, &row(), b"canary").unwrap();
        assert_ne!(one.bytes, two.bytes);
        assert_eq!(one.bytes.len(), 24 + 6 + 16);
        for sealed in [&one, &two] {
            assert_eq!(open(&keys, &row(), sealed).unwrap().as_slice(), b"canary");
            let has_plaintext = sealed.bytes.windows(6).any(|part| part == b"canary");
            assert!(!has_plaintext);
        }
        assert_eq!(format!("{one:?}"), "Sealed(a, 46 bytes)");
    }

    #[test]
    fn the_first_key_seals_and_the_named_one_opens() {
        let before = seal(&keys(&[A]), &row(), b"text").unwrap();
        let rotated = keys(&[B, A]);
        assert_eq!(open(&rotated, &row(), &before).unwrap().as_slice(), b"text");
        assert_eq!(seal(&rotated, &row(), b"text").unwrap().key_id, "b");
        assert_eq!(
            open(&keys(&[B]), &row(), &before),
            Err(SealError::UnknownKey("a".to_owned()))
        );
        assert_eq!(
            open(&keys(&[OTHER_A]), &row(), &before),
            Err(SealError::Forged)
        );
        // The name is bound, though the bytes are the right ones.
        let renamed = Sealed {
            key_id: "b".to_owned(),
            ..before
        };
        assert_eq!(
            open(&keys(&[OTHER_B]), &row(), &renamed),
            Err(SealError::Forged)
        );
    }

    #[test]
    fn any_changed_bit_is_noticed() {
        let keys = keys(&[A]);
        let sealed = seal(&keys, &row(), b"text").unwrap();
        let row_mac = mac(&keys, &row()).unwrap();
        for bit in 0..sealed.bytes.len() * 8 {
            let mut changed = sealed.clone();
            changed.bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&keys, &row(), &changed), Err(SealError::Forged));
        }
        for bit in 0..32 * 8 {
            let mut changed = row_mac.clone();
            changed.mac[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(verify(&keys, &row(), &changed), Err(SealError::Forged));
        }
        for length in 0..sealed.bytes.len() {
            let mut cut = sealed.clone();
            cut.bytes.truncate(length);
            assert_eq!(open(&keys, &row(), &cut), Err(SealError::Forged));
        }
    }

    #[test]
    fn a_seal_and_a_mac_are_of_one_row() {
        let keys = keys(&[A]);
        let sealed = seal(&keys, &row(), b"text").unwrap();
        let row_mac = mac(&keys, &row()).unwrap();
        assert_eq!(verify(&keys, &row(), &row_mac), Ok(()));
        for other in [
            Fields::of("other").text("alice").integer(7),
            Fields::of("table").text("bob").integer(7),
            Fields::of("table").text("alice").integer(8),
            Fields::of("table").text("alice"),
            Fields::of("table").text("alice").integer(7).text(""),
            Fields::of("tablealice").integer(7),
        ] {
            assert_eq!(open(&keys, &other, &sealed), Err(SealError::Forged));
            assert_eq!(verify(&keys, &other, &row_mac), Err(SealError::Forged));
        }
    }

    #[test]
    fn columns_never_run_into_each_other() {
        let texts = |one, two| Fields::of("t").text(one).text(two).0;
        assert_ne!(texts("ab", "c"), texts("a", "bc"));
        let optional = |text| Fields::of("t").optional(text).0;
        assert_ne!(optional(None), optional(Some("")));
    }

    #[test]
    fn a_mac_is_hmac_sha256() {
        // Computed with Python's hmac module.
        let row_mac = mac(&keys(&[A]), &Fields::of("t").text("x")).unwrap();
        let hex: String = row_mac
            .mac
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(
            hex,
            "857cf0691664f605b8793f43150ef2591e64d02ed5233b8bf717f20d70093e99"
        );
    }
}
