//! A GUID, by which Entra ID names tenants, accounts and apps.

use std::fmt;
use std::str::FromStr;

/// A GUID. It is read in any case and written in lower case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Guid(u128);

/// The error for a text that is not a GUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it is not a GUID, which is written as 8, 4, 4, 4 and 12 hexadecimal digits with hyphens between them"
)]
pub struct NoGuid;

impl Guid {
    /// The GUID that all these bits make.
    #[must_use]
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// Whether it is all zeros: how Azure DevOps says that an organisation has no tenant.
    #[must_use]
    pub fn is_nil(self) -> bool {
        self.0 == 0
    }
}

impl FromStr for Guid {
    type Err = NoGuid;

    fn from_str(text: &str) -> Result<Self, NoGuid> {
        let is_guid = text.split('-').map(str::len).eq([8, 4, 4, 4, 12])
            && text.chars().all(|c| c == '-' || c.is_ascii_hexdigit());
        if !is_guid {
            return Err(NoGuid);
        }
        u128::from_str_radix(&text.replace('-', ""), 16)
            .map(Self)
            .map_err(|_| NoGuid)
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.0;
        let part = |shift: u32, mask: u128| (bits >> shift) & mask;
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            part(96, 0xffff_ffff),
            part(80, 0xffff),
            part(64, 0xffff),
            part(48, 0xffff),
            part(0, 0xffff_ffff_ffff)
        )
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_guid_is_read_in_any_case_and_written_in_lower_case() {
        let guid: Guid = "499B84AC-1321-427F-AA17-267CA6975798".parse().unwrap();
        assert_eq!(guid.to_string(), "499b84ac-1321-427f-aa17-267ca6975798");
        assert!(!guid.is_nil());
        let nil: Guid = "00000000-0000-0000-0000-000000000000".parse().unwrap();
        assert!(nil.is_nil());
    }

    #[test]
    fn any_other_text_is_refused() {
        for text in [
            "",
            "common",
            "499b84ac-1321-427f-aa17-267ca697579",
            "499b84ac-1321-427f-aa17-267ca697579g",
            "499b84ac13-21-427f-aa17-267ca6975798",
            "+99b84ac-1321-427f-aa17-267ca6975798",
            "{499b84ac-1321-427f-aa17-267ca6975798}",
        ] {
            assert_eq!(text.parse::<Guid>(), Err(NoGuid), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_guid_is_read_back(bits in any::<u128>()) {
            let guid = Guid::from_bits(bits);
            prop_assert_eq!(guid.to_string().parse(), Ok(guid));
        }
    }
}
