//! The real broker on a real socket, as `entrar demo` starts it, with people whose refresh tokens nobody checks.

use std::sync::Arc;

use axum::serve::ListenerExt;
use entrar_broker::entra::{ClientAuth, DEADLINE, Entra, Registration, token_endpoint_of};
use entrar_broker::exchange::Exchanges;
use entrar_broker::rpc::{Broker, app};
use entrar_core::cookie::CookieKey;
use entrar_core::env::Env;
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
    let exchanges = Exchanges::new(Entra::new(env.clone(), registration, DEADLINE).unwrap());
    let cookie_key = CookieKey::generate().unwrap();
    let tomorrow = env.now() + 86_400.0;
    for person in 0..people {
        let user = format!("person-{person}@example.com");
        exchanges.sign_in(&user, "1.AXoA-bQ7zN_0.".repeat(80).into());
        println!("{}", cookie_key.mint(&user, tomorrow).expose_secret());
    }
    let broker = Broker {
        env,
        cookie_key,
        exchanges,
    };
    let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
    axum::serve(listener, app(Arc::new(broker))).await.unwrap();
}
