//! The compiled part of `make bench`: a server that costs next to nothing, the broker in front of it, and who asks
//! them. `bench/run` starts the servers, which run until they are killed:
//!
//! ```text
//! bench canned [MILLISECONDS]     prints its address; a token takes so long
//! bench broker AUTHORITY PEOPLE   prints its address, then a cookie for each person, a line each
//! bench load rpc|token ADDRESS CONNECTIONS REQUESTS COOKIES
//!                                 prints median and 99 % quantile in microseconds, then requests a second
//! bench load people ADDRESS,ADDRESS CONNECTIONS REQUESTS COOKIES
//!                                 the same where each request is another person's, at each address in turn, then how
//!                                 many failed and the seconds that all of them took
//! ```

// Whoever looks at a benchmark sees a panic.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

mod broker;
mod canned;
mod load;
mod message;
mod people;

use std::time::Duration;

fn main() {
    // One thread's failure is the whole command's: the others may be waiting for it.
    std::panic::set_hook(Box::new(|failure| {
        eprintln!("{failure}");
        std::process::exit(1);
    }));
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["canned"] => canned::serve(Duration::ZERO),
        ["canned", milliseconds] => {
            canned::serve(Duration::from_millis(milliseconds.parse().unwrap()));
        }
        ["broker", authority, people] => broker::serve(authority, people.parse().unwrap()),
        ["load", "rpc", address, connections, requests, cookies] => {
            let cookies = std::fs::read_to_string(cookies).unwrap();
            let connections = connections.parse().unwrap();
            let ask = cookies.lines().map(|cookie| load::ask(address, cookie));
            let ask: Vec<String> = ask.take(connections).collect();
            load::run(address, &ask, requests.parse().unwrap());
        }
        ["load", "people", addresses, connections, requests, cookies] => {
            let cookies = std::fs::read_to_string(cookies).unwrap();
            let cookies: Vec<&str> = cookies.lines().collect();
            let addresses: Vec<&str> = addresses.split(',').collect();
            let (connections, requests) = (connections.parse(), requests.parse());
            people::run(
                &addresses,
                connections.unwrap(),
                requests.unwrap(),
                &cookies,
            );
        }
        ["load", "token", address, connections, requests, _] => {
            let exchange = vec![load::exchange(address); connections.parse().unwrap()];
            load::run(address, &exchange, requests.parse().unwrap());
        }
        _ => eprintln!("bench: see the top of main.rs"),
    }
}
