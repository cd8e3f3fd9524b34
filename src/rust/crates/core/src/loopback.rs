//! Which user is at the other end on the loopback: the kernel lists the sockets of TCP with their owners.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::private_directory::own_uid;

/// Where Linux lists the sockets of TCP.
const LISTS: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

/// Whether the other end of a connection is a process of the user that this process runs as. Only Linux tells: elsewhere
/// it is always `true`.
#[must_use]
pub fn is_ours(peer: SocketAddr, own: SocketAddr) -> bool {
    if !cfg!(target_os = "linux") {
        return true;
    }
    lists().any(|list| owner(&list, peer, Some(own)) == Some(own_uid()))
}

/// Whether another user's process listens at an address of this machine. `false` where nobody listens, and where the system
/// does not tell.
#[must_use]
pub fn is_listened_to_by_another(address: SocketAddr) -> bool {
    // Who listens at every address of the machine gets what nobody listens for at this one.
    let everywhere = [
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())),
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, address.port())),
    ];
    [address]
        .into_iter()
        .chain(everywhere)
        .find_map(|address| lists().find_map(|list| owner(&list, address, None)))
        .is_some_and(|uid| uid != own_uid())
}

fn lists() -> impl Iterator<Item = String> {
    LISTS
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
}

/// The owner of the socket whose own address is `peer`, and whose other end is `own`: nobody's for one that listens.
fn owner(list: &str, peer: SocketAddr, own: Option<SocketAddr>) -> Option<u32> {
    let nobody = |peer: SocketAddr| match peer.ip() {
        IpAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        IpAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let ends = |peer, own: Option<SocketAddr>| {
        let own = own.unwrap_or_else(|| nobody(peer));
        (written(peer), written(own))
    };
    let wanted = [ends(peer, own), ends(mapped(peer), own.map(mapped))];
    list.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let ends = (fields.next()?, fields.next()?);
        if !wanted
            .iter()
            .any(|(peer, own)| (peer.as_str(), own.as_str()) == ends)
        {
            return None;
        }
        // The state, the queues, the timer and the retransmissions come before it; the timeout and the inode after it.
        let uid = fields.nth(4)?.parse().ok()?;
        // A socket that its process has closed belongs to nobody, and is listed as root's.
        let inode = fields.nth(1)?;
        (inode != "0").then_some(uid)
    })
}

/// An address of version 4 as a socket of version 6 has it.
fn mapped(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    }
}

/// As the list writes it: words of 32 bits in the machine's own order.
fn written(address: SocketAddr) -> String {
    let words = |octets: &[u8]| -> String {
        octets
            .chunks(4)
            .filter_map(|word| <[u8; 4]>::try_from(word).ok())
            .map(|word| format!("{:08X}", u32::from_ne_bytes(word)))
            .collect()
    };
    let ip = match address.ip() {
        IpAddr::V4(ip) => words(&ip.octets()),
        IpAddr::V6(ip) => words(&Ipv6Addr::octets(&ip)),
    };
    format!("{ip}:{:04X}", address.port())
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
";
        let own = SocketAddr::from(([127, 0, 0, 1], 0x1F90));
        let found = |port| owner(list, SocketAddr::from(([127, 0, 0, 1], port)), Some(own));
        assert_eq!(found(0xD431), Some(1001));
        assert_eq!(found(0xD432), None, "it was closed");
        assert_eq!(found(0xD433), Some(1002), "a socket of version 6");
        assert_eq!(found(0xD434), None);
        let other = SocketAddr::from(([127, 0, 0, 1], 0x1F91));
        let peer = SocketAddr::from(([127, 0, 0, 1], 0xD431));
        assert_eq!(owner(list, peer, Some(other)), None);
        assert_eq!(owner(list, own, None), Some(1000), "it listens");
        assert_eq!(owner(list, peer, None), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_connection_of_this_process_is_ours() {
        for host in ["127.0.0.1", "::1"] {
            let Ok(listener) = std::net::TcpListener::bind((host, 0)) else {
                assert_eq!(host, "::1", "this machine has no loopback");
                continue;
            };
            let own = listener.local_addr().unwrap();
            let stream = std::net::TcpStream::connect(own).unwrap();
            let peer = stream.local_addr().unwrap();
            assert!(is_ours(peer, own), "{host}");
            let nobody = SocketAddr::new(peer.ip(), own.port());
            assert!(!is_ours(nobody, own));
        }
    }
}
