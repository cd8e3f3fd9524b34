//! Which user is at the other end on the loopback: the kernel lists the sockets of TCP with their owners.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::private_directory::is_own_uid;

/// Where Linux lists the sockets of TCP.
const LISTS: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

/// Which of these peers of connections to `own` are processes of the user that this process runs as. Only Linux tells:
/// elsewhere all of them are. The lists are read once, however many peers there are; with many sockets on the machine that
/// takes milliseconds.
#[must_use]
pub fn are_ours(peers: &[SocketAddr], own: SocketAddr) -> Vec<bool> {
    if !cfg!(target_os = "linux") {
        return vec![true; peers.len()];
    }
    let lists: Vec<String> = lists().collect();
    let own = plain(own);
    let owners: HashMap<SocketAddr, u32> = lists
        .iter()
        .flat_map(|list| sockets(list))
        .filter(|socket| socket.remote == own)
        .map(|socket| (socket.local, socket.uid))
        .collect();
    peers
        .iter()
        .map(|peer| {
            owners
                .get(&plain(*peer))
                .is_some_and(|uid| is_own_uid(*uid))
        })
        .collect()
}

/// The user whose process listens at an address of this machine. `None` where nobody listens, and where the system does not
/// tell.
#[must_use]
pub fn listener_at(address: SocketAddr) -> Option<u32> {
    // Who listens at every address of the machine gets what nobody listens for at this one.
    let everywhere = [
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())),
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, address.port())),
    ];
    let lists: Vec<String> = lists().collect();
    [address]
        .into_iter()
        .chain(everywhere)
        .find_map(|address| lists.iter().find_map(|list| listener(list, address)))
}

fn lists() -> impl Iterator<Item = String> {
    LISTS
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
}

/// The owner of the socket that listens at an address.
fn listener(list: &str, address: SocketAddr) -> Option<u32> {
    let address = plain(address);
    sockets(list)
        .find(|socket| socket.local == address && socket.remote.port() == 0)
        .map(|socket| socket.uid)
}

/// A socket of the list.
struct Socket {
    local: SocketAddr,
    /// The other end: port 0 of one that listens.
    remote: SocketAddr,
    uid: u32,
}

/// The sockets that a process holds.
fn sockets(list: &str) -> impl Iterator<Item = Socket> + '_ {
    list.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (local, remote) = (fields.next()?, fields.next()?);
        // The state, the queues, the timer and the retransmissions come before it; the timeout and the inode after it.
        let uid = fields.nth(4)?.parse().ok()?;
        // A socket that its process has closed belongs to nobody, and is listed as root's.
        if fields.nth(1)? == "0" {
            return None;
        }
        Some(Socket {
            local: read(local)?,
            remote: read(remote)?,
            uid,
        })
    })
}

/// An address as the list writes it: words of 32 bits in the machine's own order.
fn read(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let word = |at: usize| {
        let word = u32::from_str_radix(ip.get(at..at + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    let ip = match ip.len() {
        8 => IpAddr::from(word(0)?),
        32 => {
            let mut octets = [0; 16];
            for (index, octets) in octets.chunks_mut(4).enumerate() {
                octets.copy_from_slice(&word(8 * index)?);
            }
            IpAddr::from(octets)
        }
        _ => return None,
    };
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(plain(SocketAddr::new(ip, port)))
}

/// Without the cloak that an address of version 4 wears at a socket of version 6.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_endian = "little")]
    #[test]
    fn an_owner_is_found_by_both_ends() {
        let list = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 111 1 0 100 0 0 10 0
   1: 0100007F:D431 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1001        0 222 1 0 100 0 0 10 0
   2: 0100007F:D432 0100007F:1F90 06 00000000:00000000 00:00000000 00000000     0        0 0 3 0 100 0 0 10 0
   3: 0000000000000000FFFF00000100007F:D433 0000000000000000FFFF00000100007F:1F90 01 00000000:00000000 00:00000000 00000000  1002        0 333 1
   4: 00000000000000000000000001000000:D434 00000000000000000000000001000000:1F90 01 00000000:00000000 00:00000000 00000000  1003        0 444 1
   5: nonsense
   6: 0100007F:ä 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1004        0 555 1
";
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let found: Vec<_> = sockets(list)
            .map(|socket| (socket.local, socket.remote, socket.uid))
            .collect();
        let version_6 = |port| SocketAddr::from((Ipv6Addr::LOCALHOST, port));
        let nobody = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        // The one with inode 0 was closed.
        assert_eq!(
            found,
            [
                (local(0x1F90), nobody, 1000),
                (local(0xD431), local(0x1F90), 1001),
                (local(0xD433), local(0x1F90), 1002),
                (version_6(0xD434), version_6(0x1F90), 1003),
            ]
        );
        assert_eq!(listener(list, local(0x1F90)), Some(1000));
        assert_eq!(listener(list, local(0xD431)), None, "it does not listen");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn connections_of_this_process_are_ours() {
        for host in ["127.0.0.1", "::1"] {
            let Ok(listener) = std::net::TcpListener::bind((host, 0)) else {
                assert_eq!(host, "::1", "this machine has no loopback");
                continue;
            };
            let own = listener.local_addr().unwrap();
            let connect = || std::net::TcpStream::connect(own).unwrap();
            let streams = [connect(), connect()];
            let [first, second] = [0, 1].map(|index: usize| streams[index].local_addr().unwrap());
            let nobody = SocketAddr::new(first.ip(), own.port());
            let judged = are_ours(&[first, nobody, second], own);
            assert_eq!(judged, [true, false, true], "{host}");
        }
    }
}
