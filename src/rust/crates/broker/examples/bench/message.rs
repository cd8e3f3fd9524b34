//! As much of HTTP/1.1 as both ends of a benchmark need.

use std::io::{self, Read};
use std::net::TcpStream;

/// Reads one message whole; `false` if the connection has ended.
pub fn read(stream: &mut TcpStream, message: &mut Vec<u8>) -> io::Result<bool> {
    let mut chunk = [0; 16 * 1024];
    message.clear();
    while !is_whole(message) {
        match stream.read(&mut chunk)? {
            0 => return Ok(false),
            length => message.extend_from_slice(&chunk[..length]),
        }
    }
    Ok(true)
}

fn is_whole(message: &[u8]) -> bool {
    let Some(head) = message.windows(4).position(|end| end == b"\r\n\r\n") else {
        return false;
    };
    let text = std::str::from_utf8(&message[..head]).unwrap();
    let body = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().unwrap())
    });
    message.len() >= head + 4 + body.unwrap_or(0)
}
