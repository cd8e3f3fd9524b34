//! A front door: where one visitor's browser comes in, and what puts their session token on each of its requests, as Connect
//! does.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use secrecy::ExposeSecret;

use crate::connect::Connect;
use crate::connect::head::{Refused, Rest, rewrite};
use crate::user::User;

/// The longest head, in bytes.
const LONGEST_HEAD: usize = 64 * 1024;
/// How long a browser may take for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who comes in, and where to.
pub(crate) struct FrontDoor {
    pub(crate) connect: Arc<Connect>,
    /// Without one, whoever looks at content that needs no sign-in.
    pub(crate) visitor: Option<User>,
    pub(crate) app: SocketAddr,
}

/// Lets browsers in for as long as it is polled.
pub(crate) async fn serve(listener: TcpListener, door: Arc<FrontDoor>) {
    loop {
        let Ok((browser, _)) = listener.accept().await else {
            // Out of descriptors, as a rule: some are given back in a while.
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let door = Arc::clone(&door);
        // Whoever went away needs no answer.
        tokio::spawn(async move { door.let_in(browser).await });
    }
}

impl FrontDoor {
    async fn let_in(&self, mut browser: TcpStream) -> io::Result<()> {
        browser.set_nodelay(true)?;
        let read = timeout(PATIENCE, read_head(&mut browser)).await;
        let Some((head, after)) = read.map_err(io::Error::from)?? else {
            return refuse(&mut browser, Refused("431 Request Header Fields Too Large")).await;
        };
        let token = self
            .visitor
            .as_ref()
            .map(|visitor| self.connect.visit(visitor));
        let token = token.transpose().map_err(io::Error::other)?;
        let token = token.as_ref().map(ExposeSecret::expose_secret);
        let (head, rest) = match rewrite(&head, token) {
            Ok(rewritten) => rewritten,
            Err(refused) => return refuse(&mut browser, refused).await,
        };
        let Ok(mut app) = TcpStream::connect(self.app).await else {
            let text = format!(
                "Nothing listens at {} yet. Reload when it does.\n",
                self.app
            );
            return answer(&mut browser, "503 Service Unavailable", &text).await;
        };
        app.set_nodelay(true)?;
        app.write_all(&head).await?;
        match rest {
            Rest::Upgrade => upgrade(browser, app, &after).await,
            Rest::Body(length) => one_request(browser, app, &after, length).await,
        }
    }
}

/// The head, with its empty line, and what came after it; `None` if it is too long.
async fn read_head(browser: &mut TcpStream) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
    let mut head = Vec::new();
    loop {
        if let Some(end) = head.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let after = head.split_off(end + 4);
            return Ok(Some((head, after)));
        }
        if head.len() > LONGEST_HEAD {
            return Ok(None);
        }
        if browser.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// The request's body goes on, the whole reply comes back, and nothing else.
async fn one_request(
    browser: TcpStream,
    app: TcpStream,
    after: &[u8],
    length: u64,
) -> io::Result<()> {
    let (from_browser, mut to_browser) = browser.into_split();
    let (mut from_app, mut to_app) = app.into_split();
    let here = usize::try_from(length).map_or(after, |length| after.get(..length).unwrap_or(after));
    to_app.write_all(here).await?;
    let missing = length.saturating_sub(u64::try_from(here.len()).unwrap_or(u64::MAX));
    let mut body = from_browser.take(missing);
    let sent = async {
        copy(&mut body, &mut to_app).await?;
        to_app.flush().await
    };
    // The app may answer before it has read everything, and end the connection then.
    let (_, replied) = tokio::join!(sent, copy(&mut from_app, &mut to_browser));
    replied?;
    to_browser.shutdown().await
}

/// Both sides speak as they like once the app has agreed; if it does not, only its answer comes back.
async fn upgrade(mut browser: TcpStream, mut app: TcpStream, after: &[u8]) -> io::Result<()> {
    const AGREES: &[u8] = b"HTTP/1.1 101";
    let mut start = [0; AGREES.len()];
    app.read_exact(&mut start).await?;
    browser.write_all(&start).await?;
    if start.as_slice() == AGREES {
        app.write_all(after).await?;
        copy_bidirectional(&mut browser, &mut app).await?;
    } else {
        app.shutdown().await?;
        copy(&mut app, &mut browser).await?;
    }
    Ok(())
}

async fn refuse(browser: &mut TcpStream, refused: Refused) -> io::Result<()> {
    answer(browser, refused.0, "").await
}

async fn answer(browser: &mut TcpStream, status: &str, text: &str) -> io::Result<()> {
    let reply = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    );
    browser.write_all(reply.as_bytes()).await?;
    browser.shutdown().await
}
