//! The real broker on a real socket, as `entrar demo` starts it, with people whose refresh tokens nobody checks.

use std::sync::Arc;

use entrar_broker::accounts::{AccountId, InMemory};
use entrar_broker::admission::Admission;
use entrar_broker::entra::{ClientAuth, DEADLINE, Entra, Registration, token_endpoint_of};
use entrar_broker::exchange::Exchanges;
use entrar_broker::listen::{Limits, Server};
use entrar_broker::rpc::{Broker, app};
use entrar_core::env::Env;
use entrar_core::guid::Guid;
use secrecy::ExposeSecret;
use tokio::net::TcpListener;

pub fn serve(authority: &str, people: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(listen(authority, people));
}

async fn listen(authority: &str, people: usize) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("http://{}", listener.local_addr().unwrap());
    let env = Env::process();
    let registration = Registration {
        token_endpoint: token_endpoint_of(authority),
        client_id: "11111111-2222-3333-4444-555555555555".to_owned(),
        auth: ClientAuth::Public,
        revokes_used_refresh_tokens: false,
    };
    let entra = Entra::new(env.clone(), registration, DEADLINE).unwrap();
    let exchanges = Exchanges::new(entra, InMemory::default());
    let admission = Admission::new().unwrap();
    let now = env.now();
    for person in 0..people {
        let account = AccountId {
            tid: Guid::from_bits(0),
            oid: Guid::from_bits(person as u128),
        };
        let refresh_token = "1.AXoA-bQ7zN_0.".repeat(80).into();
        exchanges.sign_in(account, refresh_token).await.unwrap();
        let (_, cookie) = admission
            .open_session(account, now, now + 86_400.0)
            .unwrap();
        println!("{}", cookie.expose_secret());
    }
    let broker = Broker::new(env, admission, Some(exchanges));
    let _server = Server::start(listener, app(Arc::new(broker)), Limits::default());
    std::future::pending().await
}
