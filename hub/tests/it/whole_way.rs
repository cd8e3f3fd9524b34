//! From the sign-in in the browser to the token in a process, and back to nothing.

use entra_emulator::User;
use serde_json::json;

use crate::browser::Browser;
use crate::machine::{Local, Machine, STORAGE, subject};

#[tokio::test(flavor = "multi_thread")]
async fn two_people_sign_in_once_and_each_ones_processes_get_their_own_tokens() {
    let (ada, bob) = (Local::new("ada"), Local::new("bob"));
    let people = vec![
        User::new("Ada Lovelace", &ada.upn()),
        User::new("Bob Builder", &bob.upn()),
    ];
    let machine = Machine::new(people, |settings| settings).await;
    for user in [&ada, &bob] {
        let before = machine.token(user, STORAGE);
        assert_eq!(
            before["oauth2_error"]["error"], "login_required",
            "{before}"
        );
        let begun = machine.ask(user, "begin", &json!({}));
        assert_eq!(begun["address"], machine.page.as_str());

        let mut browser = Browser::new(&machine.page);
        let question = browser.sign_in(&user.upn()).await;
        assert_eq!(question.heading(), "Is this you?");
        assert!(question.text.contains(&user.name), "{}", question.text);
        // Nothing is kept before the person says yes.
        assert_eq!(
            machine.token(user, STORAGE)["oauth2_error"]["error"],
            "login_required"
        );
        let account = browser
            .press(&question, "/confirm", &[("answer", "yes")])
            .await;
        assert_eq!(account.heading(), "Your Azure sign-in");
        assert_eq!((account.url.path(), account.url.query()), ("/", None));

        let waited = machine.ask(user, "wait", &json!({"id": begun["id"], "seconds": 20}));
        assert_eq!(waited["state"], "signed_in", "{waited}");
        assert_eq!(waited["account"]["username"], user.upn());
    }
    for user in [&ada, &bob] {
        let reply = machine.token(user, STORAGE);
        assert_eq!(subject(&reply), user.upn(), "{reply}");
    }
}
