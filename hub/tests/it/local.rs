//! Who asks through the socket, as the kernel says, and who gets nothing there.

use std::process::Command;

use entra_emulator::User;
use serde_json::json;

use crate::browser::Browser;
use crate::machine::{Local, Machine, STORAGE, post_as, subject};

fn refusal(reply: &serde_json::Value) -> String {
    assert_eq!(reply["oauth2_error"]["error"], "access_denied", "{reply}");
    reply["oauth2_error"]["error_description"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn uids_that_name_nobody_are_refused_in_words() {
    let machine = Machine::new(vec![User::default()], |settings| settings).await;
    for (uid, why) in [
        (0, "is root"),
        (65_534, "stands for users without a uid of their own"),
        (1, "is a user of the system"),
        (60_000, "is not among the uids that the hub serves"),
        (59_998, "has no name on this machine"),
    ] {
        let said = refusal(&machine.token_as(uid, STORAGE));
        assert!(said.contains(why), "{uid}: {said}");
        let (_, reply) = post_as(uid, &machine.socket(), "/hub/open_session", &json!({}));
        assert_eq!(reply["failure"]["kind"], "access_denied", "{reply}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recycled_uid_gets_nothing_of_who_had_it_before() {
    let ada = Local::new("ada");
    let machine = Machine::new(vec![User::new("Ada", &ada.upn())], |settings| settings).await;
    let mut browser = Browser::new(&machine.page);
    let question = browser.sign_in(&ada.upn()).await;
    browser
        .press(&question, "/confirm", &[("answer", "yes")])
        .await;
    assert_eq!(subject(&machine.token(&ada, STORAGE)), ada.upn());
    let session = machine.ask(&ada, "open_session", &json!({}));
    let cookie = session["cookie"].as_str().unwrap().to_owned();
    let renamed = format!("{}x", ada.name);
    let done = Command::new("usermod")
        .args(["--login", &renamed, &ada.name])
        .status()
        .unwrap();
    assert!(done.success());
    let said = refusal(&machine.token(&ada, STORAGE));
    assert!(said.contains("an administrator has to unbind"), "{said}");
    assert_eq!(machine.token_by_cookie(&cookie, STORAGE).await.0, 401);
    // Nor does a new sign-in help.
    let page = browser.sign_in(&ada.upn()).await;
    assert!(page.status.is_client_error(), "{}", page.text);
    let done = Command::new("usermod")
        .args(["--login", &ada.name, &renamed])
        .status()
        .unwrap();
    assert!(done.success());
}
