//! A GUID: what a tenant is named by, and the one form of it that is shown.

use std::fmt;

/// A GUID in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Guid(String);

impl Guid {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_guid = text.split('-').map(str::len).eq([8, 4, 4, 4, 12])
            && text.chars().all(|c| c == '-' || c.is_ascii_hexdigit());
        is_guid.then(|| Self(text.to_ascii_lowercase()))
    }

    /// Whether it is all zeros: how Azure DevOps says that an organisation has no tenant.
    pub(crate) fn is_nil(&self) -> bool {
        self.0.chars().all(|c| c == '-' || c == '0')
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_guids_are_read() {
        let guid = Guid::parse("499B84AC-1321-427F-AA17-267CA6975798").unwrap();
        assert_eq!(guid.to_string(), "499b84ac-1321-427f-aa17-267ca6975798");
        assert!(!guid.is_nil());
        assert!(
            Guid::parse("00000000-0000-0000-0000-000000000000")
                .unwrap()
                .is_nil()
        );
        for text in [
            "",
            "common",
            "499b84ac-1321-427f-aa17-267ca697579",
            "499b84ac-1321-427f-aa17-267ca697579g",
            "499b84ac13-21-427f-aa17-267ca6975798",
        ] {
            assert_eq!(Guid::parse(text), None, "{text}");
        }
    }
}
