//! The hub's web door: what a person's browser meets.

mod account;
mod cookies;
mod outcomes;
pub mod pages;
mod routes;
mod sign_in;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use entrar_broker::listen::Peer;
use nix::unistd::Uid;

pub use routes::{TICKET, routes};

/// The routes for connections of one local user only, who runs the reverse proxy.
pub fn of_one_peer(routes: Router, uid: Uid) -> Router {
    routes.layer(from_fn(move |request: Request, next: Next| async move {
        let peer = request.extensions().get::<Peer>().copied();
        if peer == Some(Peer::Unix { uid: uid.as_raw() }) {
            next.run(request).await
        } else {
            refused()
        }
    }))
}

fn refused() -> Response {
    (
        StatusCode::FORBIDDEN,
        "only the reverse proxy is served here",
    )
        .into_response()
}
