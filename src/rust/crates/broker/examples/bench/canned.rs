//! A server whose replies are ready before anybody asks: Workbench's to the session RPC, a tenant's to anything else.

use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::message;

struct Canned {
    /// How long a token is waited for.
    delay: Duration,
    discovery: Vec<u8>,
    rpc: Vec<u8>,
    token: Vec<u8>,
    /// Tokens that were asked for.
    exchanges: AtomicU64,
}

/// Answers after `delay`.
pub fn serve(delay: Duration) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    println!("{address}");
    let canned = Arc::new(Canned::at(&address, delay));
    for stream in listener.incoming() {
        let canned = Arc::clone(&canned);
        // A broken connection is its client's business.
        thread::spawn(move || canned.answer(stream?));
    }
}

impl Canned {
    /// Tokens as long as Entra's: an access token of 1,700 characters, a refresh token of 1,200.
    fn at(address: &str, delay: Duration) -> Self {
        let mut token = json!({
            "token_type": "Bearer",
            "scope": "https://storage.azure.com/user_impersonation https://storage.azure.com/.default",
            "expires_in": 3599,
            "ext_expires_in": 3599,
            "access_token": "eyJ0eXAiOiJKV1Qi.".repeat(100),
        });
        let rpc = json!({"result": true, "token": token});
        token["refresh_token"] = "1.AXoA-bQ7zN_0.".repeat(80).into();
        let discovery = json!({
            "issuer": format!("{address}/v2.0"),
            "authorization_endpoint": format!("{address}/oauth2/v2.0/authorize"),
            "token_endpoint": format!("{address}/oauth2/v2.0/token"),
        });
        Self {
            delay,
            discovery: reply(&discovery),
            rpc: reply(&rpc),
            token: reply(&token),
            exchanges: AtomicU64::new(0),
        }
    }

    fn answer(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut request = Vec::new();
        stream.set_nodelay(true)?;
        while message::read(&mut stream, &mut request)? {
            if request.starts_with(b"POST /delegated_azure_token ") {
                stream.write_all(&self.rpc)?;
            } else if request.starts_with(b"GET /exchanges ") {
                stream.write_all(&reply(&self.exchanges.load(Ordering::Relaxed).into()))?;
            } else if request.starts_with(b"GET ") {
                stream.write_all(&self.discovery)?;
            } else {
                self.exchanges.fetch_add(1, Ordering::Relaxed);
                thread::sleep(self.delay);
                stream.write_all(&self.token)?;
            }
        }
        Ok(())
    }
}

fn reply(body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}").into()
}
