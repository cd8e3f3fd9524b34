//! Fills a hub's database with people who have signed in, for `bench/scale.py`: each with a refresh token, a binding and a
//! session, by the hub's own means and under its own key.
//!
//! ```text
//! fill HUB.TOML PEOPLE        prints the cookie of each, a line each
//! ```

use std::error::Error;
use std::io::Write as _;
use std::path::Path;
use std::{env, io};

use entrar_broker::accounts::AccountId;
use entrar_core::guid::Guid;
use entrar_core::time::UnixTime;
use entrar_hub::configuration::Configuration;
use entrar_hub::keys::Keys;
use entrar_hub::local_user::LocalUser;
use entrar_hub::store::{Binding, Bound, BoundBy, NewSession, OpenedBy, ProfileNames, Store};
use secrecy::ExposeSecret as _;
use tokio::task::JoinSet;

type Failure = Box<dyn Error + Send + Sync>;

/// The uid of the first person; users.c has it too.
const FIRST: u32 = 1_000_000_000;
/// How many are on their way into the database: they share commits.
const AT_ONCE: u32 = 200;
/// How long ago they signed in, in seconds: so long that their next request is noted as the session's use.
const AGO: f64 = 3_600.0;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = env::args().collect();
    let [_, settings, people] = arguments.as_slice() else {
        return Err("usage: fill HUB.TOML PEOPLE".into());
    };
    let configuration = Configuration::read(Path::new(settings), None)?;
    let tid: Guid = configuration.tenant.id.parse()?;
    let keys = Keys::read(configuration.key_file.path())?;
    let client_id = configuration.tenant.client_id.to_string();
    let store = Store::open(&configuration.database, keys).await?;
    let store = store.for_client(&client_id);
    let people: u32 = people.parse()?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let (mut under_way, mut next) = (JoinSet::new(), 0);
    loop {
        while next < people && under_way.len() < AT_ONCE as usize {
            under_way.spawn(person(store.clone(), tid, next));
            next += 1;
        }
        match under_way.join_next().await {
            Some(cookie) => writeln!(out, "{}", cookie??)?,
            None => break,
        }
    }
    out.flush()?;
    store.close().await;
    Ok(())
}

/// Somebody who has signed in; the result is their cookie.
async fn person(store: Store, tid: Guid, number: u32) -> Result<String, Failure> {
    // Object ids lie anywhere, and so do their rows.
    let oid = u128::from(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    let account = AccountId {
        tid,
        oid: Guid::from_bits(oid),
    };
    let user = LocalUser {
        uid: FIRST + number,
        name: format!("person-{number}"),
    };
    let names = ProfileNames {
        username: format!("person-{number}@example.com"),
        name: format!("Person {number}"),
    };
    let then = UnixTime::now() - AGO;
    // As long as one of Entra ID's.
    let refresh_token = "1.AXoA-bQ7zN_0.".repeat(80).into();
    store
        .sign_in_person(account, &names, refresh_token, then)
        .await?;
    let binding = Binding {
        account,
        user: user.clone(),
        by: BoundBy::Rule,
        bound_at: then,
    };
    if store.bind(&binding).await? != Bound::New {
        return Err("the database has people already".into());
    }
    let session = NewSession {
        user,
        opened_by: OpenedBy::Socket,
        machine: "bench".to_owned(),
        opened_at: then,
        expires_at: then + 86_400.0,
    };
    let (_, cookie) = store.open_session(session).await?;
    Ok(cookie.expose_secret().to_owned())
}
