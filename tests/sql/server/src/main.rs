//! A SQL Server for tests: Microsoft's mock on a free port of loopback. Its own command keeps to itself what a login
//! brought; this one tells whoever started it.
//!
//! It writes its port, then for each line that it reads the access token of the latest login. It ends when its input
//! does, so it outlives no test.

use std::error::Error;
use std::io::{IsTerminal, stdout};

use mssql_mock_tds::{ConnectionInfo, MockTdsServer};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    if stdout().is_terminal() {
        return Err("what this writes is secret: read it through a pipe".into());
    }
    let server = MockTdsServer::new("127.0.0.1:0").await?;
    println!("{}", server.local_addr().port());
    // The server remembers a login before it answers it.
    let logins = server.connection_store();
    tokio::spawn(server.run());

    let mut questions = BufReader::new(stdin()).lines();
    while questions.next_line().await?.is_some() {
        let logins = logins.lock().await;
        let latest = logins.all().values().last();
        let token = latest.and_then(ConnectionInfo::received_token_as_string);
        println!("{}", token.unwrap_or_default());
    }
    Ok(())
}
