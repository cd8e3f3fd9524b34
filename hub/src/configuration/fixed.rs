//! The settings that count from the hub's start to its end: what was opened by them is in use.

use super::{Configuration, Web};

impl Configuration {
    /// These settings, read while the hub serves with `old`: those that only count from the start stay as they were. Beside
    /// them the names of those that were to be others.
    #[must_use]
    pub fn beside(mut self, old: &Self) -> (Self, Vec<&'static str>) {
        let mut named = Vec::new();
        let new = &mut self;
        // A macro, since each setting has a type of its own.
        macro_rules! stays {
            ($name:literal, $($field:ident).+) => {
                if new.$($field).+ != old.$($field).+ {
                    new.$($field).+.clone_from(&old.$($field).+);
                    named.push($name);
                }
            };
        }
        stays!("public_url", public_url);
        stays!("[tenant] id", tenant.id);
        stays!("[tenant] client_id", tenant.client_id);
        stays!("[tenant] authority", tenant.authority);
        stays!(
            "[tenant] refresh_tokens_work_once",
            tenant.refresh_tokens_work_once
        );
        stays!("[store] path or url", database);
        stays!("[store] key_file", key_file);
        stays!("[socket] path", socket.path);
        stays!("[rpc] listen", rpc);
        stays!("[health] listen", health);
        stays!("[log] format", log_is_json);
        named.extend(self.web.stays(&old.web));
        (self, named)
    }
}

impl Web {
    /// Keeps what the page is reached by; the name of what was to be another.
    fn stays(&mut self, old: &Self) -> Option<&'static str> {
        match (&mut *self, old) {
            (Self::Https { listen, .. }, Self::Https { listen: old, .. })
            | (Self::Loopback(listen), Self::Loopback(old)) => {
                let is_another = listen != old;
                *listen = *old;
                return is_another.then_some("[web] listen");
            }
            (
                Self::Proxied { socket, user },
                Self::Proxied {
                    socket: old_socket,
                    user: old_user,
                },
            ) => {
                let is_another = socket != old_socket || user != old_user;
                socket.clone_from(old_socket);
                user.clone_from(old_user);
                return is_another.then_some("[web] socket and proxy_user");
            }
            _ => {}
        }
        *self = old.clone();
        Some("[web]")
    }
}
