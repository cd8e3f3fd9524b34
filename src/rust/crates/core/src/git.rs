//! What git is configured with, so that it asks our credential helper for Azure DevOps.

use std::path::Path;

/// The URLs that the helper is configured for, as git matches them.
pub const DEVOPS_URLS: [&str; 2] = ["https://dev.azure.com", "https://*.visualstudio.com"];

/// The helper as `credential.helper` names it: git hands an absolute path to the shell as it is, so one with
/// special characters needs quotes, and with them the mark of a shell command.
#[must_use]
pub fn helper_value(path: &Path) -> String {
    let path = path.to_string_lossy();
    #[cfg(windows)]
    let path = path.replace('\\', "/");
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:,@".contains(c);
    if path.chars().all(is_plain) {
        path.into()
    } else {
        format!("!'{}'", path.replace('\'', r"'\''"))
    }
}

/// The path of a helper that `credential.helper` names by its path alone, as it is or as [`helper_value`] quotes it. `None`
/// for a name, and for a shell command with anything else in it, such as an argument.
#[must_use]
pub fn helper_path(value: &str) -> Option<String> {
    let path = match value.strip_prefix("!'") {
        Some(quoted) => {
            let quoted = quoted.strip_suffix('\'')?;
            let path = quoted.replace(r"'\''", "'");
            // A quote that ends the word would begin another one.
            (path.replace('\'', r"'\''") == quoted).then_some(path)?
        }
        None => {
            let is_plain = |c: char| c.is_alphanumeric() || "/\\._-+:,@".contains(c);
            value.chars().all(is_plain).then(|| value.to_owned())?
        }
    };
    let has_drive = matches!(
        path.as_bytes(),
        [drive, b':', b'/' | b'\\', ..] if drive.is_ascii_alphabetic()
    );
    (path.starts_with('/') || has_drive).then_some(path)
}

/// The settings for this helper, names and values, in order. The empty helper before ours makes git forget all others, which
/// it would otherwise give the token to, to store.
#[must_use]
pub fn settings(helper: &Path) -> Vec<(String, String)> {
    let helper = helper_value(helper);
    let of = |url| {
        [("helper", ""), ("helper", &helper), ("useHttpPath", "true")]
            .map(|(name, value)| (format!("credential.{url}.{name}"), value.to_owned()))
    };
    DEVOPS_URLS.into_iter().flat_map(of).collect()
}

/// The environment variables by which git gets these settings beside those that `count`, the value of `GIT_CONFIG_COUNT`,
/// says are there. `None` if that is not a number, of which git itself complains.
#[must_use]
pub fn variables(
    settings: &[(String, String)],
    count: Option<&str>,
) -> Option<Vec<(String, String)>> {
    let first: usize = match count {
        None => 0,
        Some(count) => count.parse().ok()?,
    };
    let mut variables = Vec::new();
    for (number, (key, value)) in (first..).zip(settings) {
        variables.push((format!("GIT_CONFIG_KEY_{number}"), key.clone()));
        variables.push((format!("GIT_CONFIG_VALUE_{number}"), value.clone()));
    }
    let count = (first + settings.len()).to_string();
    variables.push(("GIT_CONFIG_COUNT".to_owned(), count));
    Some(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_forgets_other_helpers_before_it_learns_of_ours() {
        let settings = settings(Path::new("/a b/h"));
        let settings: Vec<_> = settings
            .iter()
            .map(|(key, value)| (&**key, &**value))
            .collect();
        assert_eq!(
            settings,
            [
                ("credential.https://dev.azure.com.helper", ""),
                ("credential.https://dev.azure.com.helper", "!'/a b/h'"),
                ("credential.https://dev.azure.com.useHttpPath", "true"),
                ("credential.https://*.visualstudio.com.helper", ""),
                ("credential.https://*.visualstudio.com.helper", "!'/a b/h'"),
                ("credential.https://*.visualstudio.com.useHttpPath", "true"),
            ]
        );
    }

    #[test]
    fn a_helpers_path_is_read_back() {
        for path in [
            "/usr/bin/helper",
            "/a b/h",
            "/it's/h",
            "/it's 'quoted'/h",
            "/a;b#c/h",
            "/home/jürgen/h",
            "C:/Program Files/h.exe",
        ] {
            let value = helper_value(Path::new(path));
            assert_eq!(helper_path(&value).as_deref(), Some(path), "{value}");
        }
        // As somebody else writes it.
        for path in ["/home/jürgen/h", r"C:\Git\h.exe"] {
            assert_eq!(helper_path(path).as_deref(), Some(path));
        }
    }

    #[test]
    fn what_is_more_than_a_path_is_none() {
        for value in [
            "",
            "store",
            "bin/h",
            "x:y/h",
            "!/usr/bin/h",
            "!'/a b/h' --flag",
            "!'/a b/log' '/c/h'",
            "!'/a'b'/h'",
            "!'",
            "/usr/bin/h --token=x",
            "/usr/bin/x --token=y /opt/h",
            "/usr/bin/$X/h",
            "\"/usr/bin/h\"",
            "https://user:password@host/h",
        ] {
            assert_eq!(helper_path(value), None, "{value}");
        }
    }

    #[test]
    fn variables_come_after_those_that_are_there() {
        let settings = [("a".to_owned(), "b".to_owned())];
        let names = |count| {
            let variables = variables(&settings, count)?;
            Some(
                variables
                    .into_iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect::<Vec<_>>(),
            )
        };
        let first = [
            "GIT_CONFIG_KEY_0=a",
            "GIT_CONFIG_VALUE_0=b",
            "GIT_CONFIG_COUNT=1",
        ];
        assert_eq!(names(None).unwrap(), first);
        let third = [
            "GIT_CONFIG_KEY_2=a",
            "GIT_CONFIG_VALUE_2=b",
            "GIT_CONFIG_COUNT=3",
        ];
        assert_eq!(names(Some("2")).unwrap(), third);
        assert_eq!(names(Some("x")), None);
    }
}
