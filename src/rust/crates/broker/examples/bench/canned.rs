//! A server whose replies are ready before anybody asks: Workbench's to the session RPC, a tenant's to anything else.

use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use serde_json::{Value, json};

use crate::message;

pub fn serve() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("http://{}", listener.local_addr().unwrap());
    for stream in listener.incoming() {
        // A broken connection is its client's business.
        thread::spawn(|| answer(stream?));
    }
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    let (rpc, token) = replies();
    let mut request = Vec::new();
    stream.set_nodelay(true)?;
    while message::read(&mut stream, &mut request)? {
        let is_rpc = request.starts_with(b"POST /delegated_azure_token ");
        stream.write_all(if is_rpc { &rpc } else { &token })?;
    }
    Ok(())
}

/// Tokens as long as Entra's: an access token of 1,700 characters, a refresh token of 1,200.
fn replies() -> (Vec<u8>, Vec<u8>) {
    let mut token = json!({
        "token_type": "Bearer",
        "scope": "https://storage.azure.com/user_impersonation https://storage.azure.com/.default",
        "expires_in": 3599,
        "ext_expires_in": 3599,
        "access_token": "eyJ0eXAiOiJKV1Qi.".repeat(100),
    });
    let rpc = json!({"result": true, "token": token});
    token["refresh_token"] = "1.AXoA-bQ7zN_0.".repeat(80).into();
    (reply(&rpc), reply(&token))
}

fn reply(body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}").into()
}
