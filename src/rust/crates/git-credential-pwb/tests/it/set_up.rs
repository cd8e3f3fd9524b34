//! `configure` and `unconfigure`, read back by git itself.

use std::process::Command;

use crate::support::{Session, outcome};

fn git(session: &Session, words: &[&str]) -> String {
    let mut git = Command::new("git");
    let output = git
        .args(words)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", session.directory.path())
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .current_dir(session.directory.path())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// What git reads in the file, in its order.
fn settings(session: &Session) -> Vec<String> {
    let text = git(session, &["config", "--list"]);
    let lines = text.lines().filter(|line| line.starts_with("credential."));
    lines.map(str::to_owned).collect()
}

const HELPER: &str = env!("CARGO_BIN_EXE_git-credential-pwb");

fn ours() -> Vec<String> {
    ["https://dev.azure.com", "https://*.visualstudio.com"]
        .iter()
        .flat_map(|url| {
            [
                format!("credential.{url}.helper="),
                format!("credential.{url}.helper={HELPER}"),
                format!("credential.{url}.usehttppath=true"),
            ]
        })
        .collect()
}

fn part(mark: &str) -> String {
    let section = |url: &str| {
        format!(
            "{mark}[credential \"{url}\"]\n{mark}\thelper =\n{mark}\thelper = {HELPER}\n{mark}\tuseHttpPath = true\n"
        )
    };
    format!(
        "{mark}# git-credential-pwb: Azure DevOps by your Microsoft sign-in; `entrar::use_azure_git(remove = TRUE)` in R removes this\n{}{}{mark}# git-credential-pwb: end\n",
        section("https://dev.azure.com"),
        section("https://*.visualstudio.com")
    )
}

#[test]
fn the_persons_file_is_changed_and_changed_back() {
    let session = Session::nowhere();
    let file = session.file(".gitconfig");
    let before = "# mine\n[credential]\n\thelper = store\n[user]\n\tname = Ada";
    std::fs::write(&file, before).unwrap();
    let shown = format!("{}\n{}", file.display(), part("+"));

    let dry = session.run(&["configure", "--dry-run"], b"");
    assert_eq!(dry, outcome(0, &shown, ""));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), before);

    assert_eq!(session.run(&["configure"], b""), outcome(0, &shown, ""));
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(text, format!("{before}\n{}", part("")));
    let mut expected = vec!["credential.helper=store".to_owned()];
    expected.extend(ours());
    assert_eq!(settings(&session), expected);

    let again = "git-credential-pwb: git is already configured this way; nothing was changed\n";
    assert_eq!(session.run(&["configure"], b""), outcome(0, "", again));
    assert_eq!(
        session.run(&["configure", "--dry-run"], b""),
        outcome(0, "", "")
    );

    let shown = format!("{}\n{}", file.display(), part("-"));
    assert_eq!(session.run(&["unconfigure"], b""), outcome(0, &shown, ""));
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(text, format!("{before}\n"));
    assert_eq!(session.run(&["unconfigure"], b""), outcome(0, "", again));
    assert_eq!(
        std::fs::read_dir(session.directory.path()).unwrap().count(),
        1
    );
}

#[test]
fn a_file_that_was_not_there_is_made_and_removed() {
    let session = Session::nowhere();
    assert_eq!(session.run(&["configure"], b"").code, Some(0));
    assert_eq!(settings(&session), ours());
    assert_eq!(session.run(&["unconfigure"], b"").code, Some(0));
    assert!(!session.file(".gitconfig").exists());
}

#[test]
fn a_helper_added_later_is_put_before_ours_by_configuring_again() {
    let session = Session::nowhere();
    session.run(&["configure"], b"");
    git(
        &session,
        &["config", "--global", "credential.helper", "store"],
    );
    assert_eq!(
        settings(&session).last().unwrap(),
        "credential.helper=store"
    );
    session.run(&["configure"], b"");
    let mut expected = vec!["credential.helper=store".to_owned()];
    expected.extend(ours());
    assert_eq!(settings(&session), expected);
}

#[test]
fn a_repository_has_its_own() {
    let session = Session::nowhere();
    let nowhere = "git-credential-pwb: there is no git repository here\n";
    let project = ["configure", "--project"];
    assert_eq!(session.run(&project, b""), outcome(1, "", nowhere));
    git(&session, &["init", "-q", "."]);
    let before = std::fs::read_to_string(session.file(".git/config")).unwrap();
    assert_eq!(session.run(&project, b"").code, Some(0));
    assert_eq!(settings(&session), ours());
    assert!(!session.file(".gitconfig").exists());
    session.run(&["unconfigure", "--project"], b"");
    let after = std::fs::read_to_string(session.file(".git/config")).unwrap();
    assert_eq!(after, before);
}

#[test]
fn a_link_is_followed_and_permissions_stay() {
    let session = Session::nowhere();
    let file = session.file("dotfiles");
    std::fs::write(&file, "[a]\n").unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink(&file, session.file(".gitconfig")).unwrap();
        session.run(&["configure"], b"");
        assert!(session.file(".gitconfig").is_symlink());
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        assert_eq!(settings(&session), ours());
        // What it leads to stays, also when nothing is left in it.
        std::fs::write(&file, "").unwrap();
        session.run(&["configure"], b"");
        session.run(&["unconfigure"], b"");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "");
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_in_the_files_place_keeps_nobody_waiting_and_stays() {
    let session = Session::nowhere();
    let file = session.file(".gitconfig");
    let made = Command::new("mkfifo").arg(&file).status();
    assert!(made.unwrap().success());
    let shown = file.display();
    let expected =
        format!("git-credential-pwb: {shown} cannot be changed: it is not a regular file\n");
    assert_eq!(session.run(&["configure"], b""), outcome(1, "", &expected));
    assert!(!std::fs::metadata(&file).unwrap().is_file());
}

#[test]
fn a_file_that_cannot_be_changed_is_left_alone() {
    let session = Session::nowhere();
    let file = session.file(".gitconfig");
    let shown = file.display();
    std::fs::write(session.file(".gitconfig.lock"), "").unwrap();
    let locked = format!(
        "git-credential-pwb: {shown} is being changed by another process; if that is not so, delete {shown}.lock\n"
    );
    assert_eq!(session.run(&["configure"], b""), outcome(1, "", &locked));
    std::fs::remove_file(session.file(".gitconfig.lock")).unwrap();

    std::fs::write(&file, "# git-credential-pwb: half\n").unwrap();
    let half = format!(
        "git-credential-pwb: {shown} has the line \"# git-credential-pwb: ...\" but not the line \"# git-credential-pwb: end\" after it; mend that by hand\n"
    );
    assert_eq!(session.run(&["configure"], b""), outcome(1, "", &half));
    assert_eq!(
        std::fs::read_dir(session.directory.path()).unwrap().count(),
        1
    );
}

#[test]
fn unknown_options_are_refused() {
    let session = Session::nowhere();
    for (words, what) in [
        (
            &["configure", "--system"][..],
            "the options are --project, --dry-run and --helper PATH",
        ),
        (
            &["unconfigure", "--helper", "/x"],
            "the options are --project and --dry-run",
        ),
        (
            &["configure", "--helper"],
            "--helper needs an absolute path after it",
        ),
        (
            &["configure", "--helper", "x"],
            "--helper needs an absolute path after it",
        ),
    ] {
        let expected = format!("git-credential-pwb: {what}\n");
        assert_eq!(session.run(words, b""), outcome(2, "", &expected));
    }
    assert!(!session.file(".gitconfig").exists());
}

#[test]
fn another_path_to_the_helper_is_put_in_and_taken_out() {
    let session = Session::nowhere();
    let words = [
        "configure",
        "--helper",
        "/a b/entrar/bin/git-credential-pwb",
    ];
    assert_eq!(session.run(&words, b"").code, Some(0));
    assert_eq!(
        settings(&session)[1],
        "credential.https://dev.azure.com.helper=!'/a b/entrar/bin/git-credential-pwb'"
    );
    // By its own path, it knows what it wrote.
    session.run(&["configure"], b"");
    assert_eq!(settings(&session), ours());
    session.run(&words, b"");
    session.run(&["unconfigure"], b"");
    assert!(!session.file(".gitconfig").exists());
}
