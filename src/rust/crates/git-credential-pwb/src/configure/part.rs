//! Our part of a configuration file: between two comments, at the end.

use std::path::Path;

use entrar_core::git::{DEVOPS_URLS, helper_path, helper_value};

const BEGIN: &str = "# git-credential-pwb: Azure DevOps by your Microsoft sign-in; `entrar::use_azure_git(remove = TRUE)` in R removes this";
pub(super) const END: &str = "# git-credential-pwb: end";
/// What is recognised of the first line, so that its wording may change.
pub(super) const BEGINS: &str = "# git-credential-pwb: ";

/// How the path of every helper ends that `entrar::use_azure_git()` has put in: where R installs it, or the link to it.
const INSTALLED: &str = if cfg!(windows) {
    "/entrar/bin/git-credential-pwb.exe"
} else {
    "/entrar/bin/git-credential-pwb"
};

/// The helpers that are ours, as `credential.helper` names them: the one to put in, and this command.
pub(super) struct Ours(pub(super) [String; 2]);

/// Our part of a file.
pub(super) fn block(Ours([helper, _]): &Ours) -> String {
    let mut text = format!("{BEGIN}\n");
    for url in DEVOPS_URLS {
        text.push_str(&format!(
            "{}\n\thelper =\n\thelper = {}\n\tuseHttpPath = true\n",
            header(url),
            quoted(helper)
        ));
    }
    text + END + "\n"
}

/// The first line of the section for a URL.
fn header(url: &str) -> String {
    format!("[credential \"{url}\"]")
}

/// A value as a configuration file has it.
fn quoted(value: &str) -> String {
    if value
        .chars()
        .all(|c| c.is_ascii_graphic() && !"\"\\;#!'".contains(c))
    {
        return value.to_owned();
    }
    let escaped = value
        .replace('\\', r"\\")
        .replace('"', "\\\"")
        .replace('\n', r"\n")
        .replace('\t', r"\t");
    format!("\"{escaped}\"")
}

/// The path in a line of the file, if [`helper_value`] and [`quoted`] make that line of it.
fn path_in_file(line: &str) -> Option<String> {
    let inner = line
        .strip_prefix('"')
        .and_then(|line| line.strip_suffix('"'));
    let value = match inner {
        Some(text) => text.replace("\\\"", "\"").replace(r"\\", r"\"),
        None => line.to_owned(),
    };
    let path = helper_path(&value)?;
    (quoted(&helper_value(Path::new(&path))) == line).then_some(path)
}

/// A file, cut in three.
pub(super) struct Parts {
    pub(super) before: Vec<u8>,
    pub(super) ours: Vec<u8>,
    pub(super) after: Vec<u8>,
}

impl Parts {
    /// `None` if our part has no end.
    pub(super) fn of(text: &[u8]) -> Option<Self> {
        let mut parts = Self {
            before: Vec::new(),
            ours: Vec::new(),
            after: Vec::new(),
        };
        let mut position = Position::Before;
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let bare = line.trim_ascii_end();
            if matches!(position, Position::Before)
                && bare.starts_with(BEGINS.as_bytes())
                && bare != END.as_bytes()
            {
                position = Position::Ours;
            }
            match position {
                Position::Before => parts.before.extend_from_slice(line),
                Position::Ours => parts.ours.extend_from_slice(line),
                Position::After => parts.after.extend_from_slice(line),
            }
            if matches!(position, Position::Ours) && bare == END.as_bytes() {
                position = Position::After;
            }
        }
        (!matches!(position, Position::Ours)).then_some(parts)
    }

    /// The file with this in the place of our part, at the end.
    pub(super) fn with(&self, part: &str, ours: &Ours) -> Vec<u8> {
        let kept = chosen(&self.ours, ours, Author::SomebodyElse);
        let mut text = [&*self.before, &*kept, &*self.after].concat();
        if !part.is_empty() && !text.is_empty() && !text.ends_with(b"\n") {
            text.push(b'\n');
        }
        text.extend_from_slice(part.as_bytes());
        text
    }

    /// What [`Parts::with`] takes out: our part without what somebody else wrote into it, which may hold a secret.
    pub(super) fn taken_out(&self, ours: &Ours) -> Vec<u8> {
        chosen(&self.ours, ours, Author::Us)
    }
}

/// Who wrote a line of our part.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Author {
    Us,
    SomebodyElse,
}

/// The lines of our part that this author wrote. `git config` puts a new setting into the last section of its name, which
/// may be ours: then the section's first line counts as somebody else's too.
fn chosen(part: &[u8], ours: &Ours, author: Author) -> Vec<u8> {
    let mut lines: Vec<(Author, &[u8])> = Vec::new();
    let mut is_our_section = true;
    // Where the first line of this section of ours is in `lines`.
    let mut header_at = None;
    for line in part.split_inclusive(|byte| *byte == b'\n') {
        let text = String::from_utf8_lossy(line);
        let bare = text.trim();
        let is_our_header = DEVOPS_URLS.iter().any(|url| bare == header(url));
        if is_our_header {
            is_our_section = true;
            header_at = Some(lines.len());
        } else if bare.starts_with('[') {
            is_our_section = false;
        }
        let is_ours =
            is_our_header || bare.starts_with(BEGINS) || (is_our_section && ours.has_written(bare));
        let author = if is_ours {
            Author::Us
        } else {
            Author::SomebodyElse
        };
        if is_our_section && author == Author::SomebodyElse {
            if let Some((author_of_header, _)) = header_at.and_then(|at| lines.get_mut(at)) {
                *author_of_header = author;
            }
        }
        lines.push((author, line));
    }
    lines.retain(|(found, _)| *found == author);
    lines
        .into_iter()
        .flat_map(|(_, line)| line)
        .copied()
        .collect()
}

impl Ours {
    /// Whether a line of our sections is as we wrote it, this time or an earlier one. Others have helpers of the
    /// same name, Workbench among them, and shell commands that hold it.
    fn has_written(&self, line: &str) -> bool {
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        let value = value.trim();
        match key.trim().to_ascii_lowercase().as_str() {
            "" => true,
            "usehttppath" => value == "true",
            "helper" => value.is_empty() || self.has_written_helper(value),
            _ => false,
        }
    }

    fn has_written_helper(&self, value: &str) -> bool {
        self.0.iter().any(|helper| value == quoted(helper))
            || path_in_file(value).is_some_and(|path| path.ends_with(INSTALLED))
    }
}

/// Where a line is in relation to our part.
enum Position {
    Before,
    Ours,
    After,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const COMMAND: &str = "/h/entrar/bin/git-credential-pwb";

    fn ours(helper: &str) -> Ours {
        Ours([helper.to_owned(), COMMAND.to_owned()])
    }

    fn block(helper: &str) -> String {
        super::block(&ours(helper))
    }

    fn added(text: &[u8], helper: &str) -> Vec<u8> {
        let ours = ours(helper);
        Parts::of(text).unwrap().with(&super::block(&ours), &ours)
    }

    fn removed(text: &[u8]) -> Vec<u8> {
        Parts::of(text).unwrap().with("", &ours(COMMAND))
    }

    #[test]
    fn the_part_resets_other_helpers_before_it_names_ours() {
        let expected = format!(
            "{BEGIN}
[credential \"https://dev.azure.com\"]
\thelper =
\thelper = /bin/git-credential-pwb
\tuseHttpPath = true
[credential \"https://*.visualstudio.com\"]
\thelper =
\thelper = /bin/git-credential-pwb
\tuseHttpPath = true
# git-credential-pwb: end
"
        );
        assert_eq!(block("/bin/git-credential-pwb"), expected);
    }

    #[test]
    fn it_goes_to_the_end_and_replaces_an_older_one() {
        let old = [
            b"[a]\n",
            block(&format!("/old{INSTALLED}")).as_bytes(),
            b"[credential]\n\thelper = store\n",
        ]
        .concat();
        let expected = format!(
            "[a]\n[credential]\n\thelper = store\n{}",
            block("/new/git-credential-pwb")
        );
        assert_eq!(
            String::from_utf8(added(&old, "/new/git-credential-pwb")).unwrap(),
            expected
        );
    }

    #[test]
    fn what_somebody_else_wrote_into_it_stays() {
        let ours = block(COMMAND).replace(
            "\tuseHttpPath = true\n[",
            "\tuseHttpPath = true\n\tusername = ada\n\thelper = cache\n[",
        );
        let expected =
            "[a]\n[credential \"https://dev.azure.com\"]\n\tusername = ada\n\thelper = cache\n";
        let text = format!("[a]\n{ours}");
        assert_eq!(
            String::from_utf8(removed(text.as_bytes())).unwrap(),
            expected
        );
    }

    #[test]
    fn what_is_taken_out_is_told_without_what_stays() {
        let text = format!(
            "{BEGIN}
[credential \"https://dev.azure.com\"]
\thelper =
\thelper = {COMMAND}
\thelper = !echo password=canary
[credential \"https://*.visualstudio.com\"]
\tuseHttpPath = true
[user]
\tname = Ada
{END}
"
        );
        let parts = Parts::of(text.as_bytes()).unwrap();
        assert_eq!(
            String::from_utf8(parts.taken_out(&ours(COMMAND))).unwrap(),
            format!(
                "{BEGIN}
\thelper =
\thelper = {COMMAND}
[credential \"https://*.visualstudio.com\"]
\tuseHttpPath = true
{END}
"
            )
        );
        assert_eq!(
            String::from_utf8(removed(text.as_bytes())).unwrap(),
            "[credential \"https://dev.azure.com\"]
\thelper = !echo password=canary
[user]
\tname = Ada
"
        );
    }

    #[test]
    fn a_helper_of_somebody_else_stays_whatever_its_name() {
        for line in [
            "helper = /usr/lib/rstudio-server/bin/git-credential-pwb",
            "helper = /usr/bin/my-git-credential-pwb-wrapper",
            "helper = /x/entrar/bin/git-credential-pwb-wrapper",
            "helper = /x/not-entrar/bin/git-credential-pwb",
            "helper = /h/entrar/bin/git-credential-pwb --flag",
            "helper = /h/entrar/bin/git-credential-pwb ; mine",
            "helper = pwb",
            "helper = !git-credential-pwb",
            "helper = !/h/entrar/bin/git-credential-pwb",
            "helper = \"!f() { /h/entrar/bin/git-credential-pwb; }; f '/entrar/bin/git-credential-pwb'\"",
            "helper = \"!'/x y/log' '/h/entrar/bin/git-credential-pwb'\"",
            "useHttpPath = false",
        ] {
            let text = block(COMMAND).replacen(
                "\tuseHttpPath = true\n",
                &format!("\tuseHttpPath = true\n\t{line}\n"),
                1,
            );
            let expected = format!("[credential \"https://dev.azure.com\"]\n\t{line}\n");
            let found = removed(text.as_bytes());
            assert_eq!(String::from_utf8(found).unwrap(), expected);
        }
    }

    #[test]
    fn what_another_installation_of_ours_has_written_goes() {
        // No name on Windows holds a backslash.
        let mark = if cfg!(windows) { "" } else { r"\" };
        for helper in [
            &format!("/usr/lib/R/site-library{INSTALLED}"),
            &format!("!'/home/a b/R/4.2{INSTALLED}'"),
            &format!(r"!'/it'\''s {mark}{INSTALLED}'"),
            "/somewhere/target/debug/git-credential-pwb",
        ] {
            let ours = Ours([
                COMMAND.to_owned(),
                "/somewhere/target/debug/git-credential-pwb".to_owned(),
            ]);
            let part = block(helper);
            let found = Parts::of(part.as_bytes()).unwrap().with("", &ours);
            assert_eq!(String::from_utf8(found).unwrap(), "", "{helper}");
        }
    }

    #[test]
    fn sections_that_somebody_else_wrote_into_it_stay_whole() {
        let foreign = "[user] name = ada\n\temail = ada@example.com\n\n[credential \"https://example.com\"]\n\thelper =\n";
        let ours = block(COMMAND);
        let (first, last) = ours.split_at(ours.rfind("[credential").unwrap());
        let text = format!("[a]\n{first}{foreign}{last}");
        assert_eq!(
            String::from_utf8(removed(text.as_bytes())).unwrap(),
            format!("[a]\n{foreign}")
        );
        let text = format!("{}{foreign}{END}\n", ours.trim_end().trim_end_matches(END));
        assert_eq!(
            String::from_utf8(removed(text.as_bytes())).unwrap(),
            foreign
        );
    }

    #[test]
    fn without_its_end_the_part_is_not_touched() {
        let text = format!("[a]\n{BEGIN}\n[credential]\n");
        assert!(Parts::of(text.as_bytes()).is_none());
    }

    #[test]
    fn paths_are_written_so_that_git_and_the_shell_read_them_back() {
        for (path, value, in_file) in [
            ("/usr/bin/helper", "/usr/bin/helper", "/usr/bin/helper"),
            ("/a b/h", "!'/a b/h'", "\"!'/a b/h'\""),
            ("/it's/h", r"!'/it'\''s/h'", r#""!'/it'\\''s/h'""#),
            ("/a;b#c/h", "!'/a;b#c/h'", "\"!'/a;b#c/h'\""),
        ] {
            let helper = helper_value(Path::new(path));
            assert_eq!(helper, value);
            assert_eq!(quoted(&helper), in_file);
        }
    }

    proptest! {
        #[test]
        fn taking_it_out_leaves_what_was_there(text in "([a-z\\[\\]=#\"\\t ]{0,20}\r?\n){0,8}") {
            let with = added(text.as_bytes(), COMMAND);
            prop_assert!(with.starts_with(text.as_bytes()));
            prop_assert_eq!(added(&with, COMMAND), with.clone());
            prop_assert_eq!(removed(&with), text.as_bytes());
        }
    }
}
