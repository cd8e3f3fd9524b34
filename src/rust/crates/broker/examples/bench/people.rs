//! Who asks as many different people: each request has a cookie of its own, and one that fails is counted.

use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use crate::{load, message};

/// Sends `total` requests on so many connections, each of which goes to the next of these addresses and is opened by its
/// first request. All begin at once; request by request the next cookie is used.
pub fn run(addresses: &[&str], connections: usize, total: usize, cookies: &[&str]) {
    let start = Barrier::new(connections + 1);
    let (replies, took) = thread::scope(|scope| {
        let start = &start;
        let threads: Vec<_> = (0..connections)
            .map(|number| {
                let address = addresses[number % addresses.len()];
                let own = (number..total).step_by(connections);
                let own =
                    own.map(move |request| load::ask(address, cookies[request % cookies.len()]));
                scope.spawn(move || connection(address, own, start))
            })
            .collect();
        start.wait();
        let started = Instant::now();
        let replies = threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap());
        (replies.collect::<Vec<_>>(), started.elapsed())
    });
    let times: Vec<_> = replies.iter().flatten().copied().collect();
    let failed = replies.len() - times.len();
    if times.is_empty() {
        eprintln!("all {failed} requests have failed");
        std::process::exit(1);
    }
    let seconds = took.as_secs_f64();
    println!("{} {failed} {seconds:.3}", load::summary(times, took));
}

/// How long each of these requests took, or `None` for one that failed.
fn connection(
    address: &str,
    requests: impl Iterator<Item = String>,
    start: &Barrier,
) -> Vec<Option<Duration>> {
    let (host, _) = load::host_and_path(address);
    let mut stream = None;
    let mut reply = Vec::new();
    start.wait();
    requests
        .map(|request| {
            let sent = Instant::now();
            let asked = ask(host, &mut stream, &request, &mut reply);
            let took = sent.elapsed();
            match asked {
                Ok(()) if load::is_token(&reply) => return Some(took),
                Ok(()) => eprintln!("{}", String::from_utf8_lossy(&reply)),
                Err(error) => eprintln!("{error}"),
            }
            stream = None;
            None
        })
        .collect()
}

fn ask(
    host: &str,
    stream: &mut Option<TcpStream>,
    request: &str,
    reply: &mut Vec<u8>,
) -> io::Result<()> {
    let stream = match stream {
        Some(stream) => stream,
        None => {
            let new = TcpStream::connect(host)?;
            new.set_nodelay(true)?;
            stream.insert(new)
        }
    };
    stream.write_all(request.as_bytes())?;
    match message::read(stream, reply)? {
        true => Ok(()),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
