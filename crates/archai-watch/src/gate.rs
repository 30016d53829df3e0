//! Who is let in: whoever knows the token, under a name of this machine, from a page of this server.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::http::{Method, Refusal, Request};

/// Lets requests in, or not.
pub struct Gate {
    token: String,
    /// What browsers keep in place of the token.
    session: String,
    /// In place of the token, for one use: what is handed to a browser on a command line, which others of the machine can see.
    once: String,
    is_used: AtomicBool,
    names: Vec<String>,
}

/// How a request is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// It came with the token in its address: the browser is to be given the cookie, and an address without the secret.
    New,
    /// It is let in.
    In,
}

impl Gate {
    /// For this token and these names of the machine.
    pub fn new(token: &str, names: Vec<String>) -> Self {
        let derived = |what: &str| {
            let key = blake3::derive_key(what, token.as_bytes());
            blake3::Hash::from_bytes(key).to_hex().to_string()
        };
        let names = names.iter().map(|name| name.to_ascii_lowercase());
        Gate {
            token: token.to_string(),
            session: derived("archai-watch session"),
            once: derived("archai-watch once"),
            is_used: AtomicBool::new(false),
            names: names.collect(),
        }
    }

    /// The token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// What opens the door once.
    pub fn once(&self) -> &str {
        &self.once
    }

    /// The cookie that a browser gets. Browsers send it to all ports of a machine, therefore its name has the port.
    pub fn cookie(&self, port: u16) -> String {
        format!(
            "archai-{port}={}; Path=/; HttpOnly; SameSite=Strict",
            self.session
        )
    }

    /// Looks at where a request comes from and under which name it asks.
    ///
    /// # Errors
    /// A name that is none of this machine, or a page of another server.
    pub fn check_origin(&self, request: &Request) -> Result<(), Refusal> {
        let host = request
            .field("host")
            .ok_or(Refusal(400, "the request names no host"))?;
        if !self.knows(host) {
            return Err(Refusal(
                421,
                "this server is not known under that name; use its number, or localhost",
            ));
        }
        if request.has("origin") {
            let own = |origin: &str| {
                let schemes = ["http://", "https://"];
                let rest = schemes
                    .iter()
                    .find_map(|scheme| origin.strip_prefix(scheme));
                rest.is_some_and(|rest| rest.eq_ignore_ascii_case(host))
            };
            if !request.field("origin").is_some_and(own) {
                return Err(Refusal(403, "pages of other servers get no answer here"));
            }
        }
        Ok(())
    }

    /// Whether a host is a name of this machine, whatever the port: it may be reached through a tunnel.
    fn knows(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        if let Some(v6) = host.strip_prefix('[') {
            let Some((ip, port)) = v6.split_once(']') else {
                return false;
            };
            return ip.parse::<std::net::Ipv6Addr>().is_ok() && (port.is_empty() || is_port(port));
        }
        let (name, port) = match host.find(':') {
            Some(at) => host.split_at(at),
            None => (host.as_str(), ""),
        };
        let is_own = name == "localhost"
            || name.parse::<IpAddr>().is_ok()
            || self.names.iter().any(|own| own == name);
        is_own && (port.is_empty() || is_port(port))
    }

    /// Whether a request has the secret.
    ///
    /// # Errors
    /// It has not.
    pub fn let_in(&self, request: &Request, port: u16) -> Result<Entry, Refusal> {
        const NOT: Refusal = Refusal(
            401,
            "the address that the program printed has a token, without which nothing is shown; open it as it was printed",
        );
        let bearer = request.field("authorization");
        if let Some(token) = bearer.and_then(|value| value.strip_prefix("Bearer ")) {
            return match same(token, &self.token) {
                true => Ok(Entry::In),
                false => Err(NOT),
            };
        }
        let name = format!("archai-{port}");
        let cookies = request.fields.iter().filter(|(name, _)| name == "cookie");
        let mut cookies = cookies.flat_map(|(_, value)| value.split(';'));
        let has_cookie = cookies.any(|cookie| {
            let pair = cookie.trim().split_once('=');
            pair.is_some_and(|(own, value)| own == name && same(value, &self.session))
        });
        match request.asked("token") {
            // What does something comes from a page that was let in before.
            Some(token) if request.method != Method::Post && same(token, &self.token) => {
                Ok(Entry::New)
            }
            Some(token) if request.method == Method::Get && same(token, &self.once) => {
                match self.is_used.swap(true, Ordering::SeqCst) {
                    false => Ok(Entry::New),
                    true if has_cookie => Ok(Entry::In),
                    true => Err(NOT),
                }
            }
            _ if has_cookie => Ok(Entry::In),
            _ => Err(NOT),
        }
    }

    /// Whether a request that does something comes from this server's own page, or from a program that has the token. A form of
    /// another page could send neither the field nor the token.
    ///
    /// # Errors
    /// It does not.
    pub fn check_action(&self, request: &Request) -> Result<(), Refusal> {
        let from_page = request.has("origin") && request.field("x-archai").is_some();
        match from_page || request.has("authorization") {
            true => Ok(()),
            false => Err(Refusal(403, "this is done from the page of the run alone")),
        }
    }
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':')
        .is_some_and(|port| port.parse::<u16>().is_ok())
}

/// Whether two secrets are the same, in a time that does not tell how much of them is.
fn same(a: &str, b: &str) -> bool {
    blake3::hash(a.as_bytes()) == blake3::hash(b.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::parse;

    const TOKEN: &str = "0123456789abcdef";

    fn request(fields: &str) -> Request {
        let text = format!("GET / HTTP/1.1\r\n{fields}\r\n");
        parse(text.as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn only_names_of_this_machine_are_known() {
        let gate = Gate::new(TOKEN, vec!["Node1.example".into()]);
        for host in [
            "localhost",
            "LOCALHOST:80",
            "127.0.0.1:4747",
            "[::1]:9",
            "10.0.0.3",
            "node1.example:1",
        ] {
            assert!(gate.knows(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil",
            "localhost:x",
            "[::1",
            "[evil]:1",
            "localhost:1:2",
        ] {
            assert!(!gate.knows(host), "{host}");
        }
    }

    #[test]
    fn pages_of_other_servers_are_refused() {
        let gate = Gate::new(TOKEN, Vec::new());
        let status = |fields: &str| {
            gate.check_origin(&request(fields))
                .err()
                .map(|refusal| refusal.0)
        };
        assert_eq!(status("Host: localhost:1\r\n"), None);
        assert_eq!(
            status("Host: localhost:1\r\nOrigin: http://localhost:1\r\n"),
            None
        );
        for origin in [
            "http://evil.example",
            "http://localhost:2",
            "null",
            "http://localhost:1.evil",
            "localhost:1",
        ] {
            assert_eq!(
                status(&format!("Host: localhost:1\r\nOrigin: {origin}\r\n")),
                Some(403),
                "{origin}"
            );
        }
        assert_eq!(status(""), Some(400));
        assert_eq!(status("Host: a\r\nHost: localhost\r\n"), Some(400));
        assert_eq!(status("Host: evil.example\r\n"), Some(421));
    }

    #[test]
    fn nobody_comes_in_without_the_secret() {
        let gate = Gate::new(TOKEN, Vec::new());
        let cookie = gate.cookie(7);
        let (pair, _) = cookie.split_once(';').unwrap();
        assert!(!cookie.contains(TOKEN));
        for (fields, expect) in [
            (format!("Cookie: x=1; {pair}\r\n"), Some(Entry::In)),
            (
                format!("Authorization: Bearer {TOKEN}\r\n"),
                Some(Entry::In),
            ),
            (format!("Authorization: Bearer {TOKEN}x\r\n"), None),
            (format!("Cookie: {pair}0\r\n"), None),
            (
                format!("Cookie: {}\r\n", pair.replace("archai-7", "archai-8")),
                None,
            ),
            (format!("Cookie: archai-7={TOKEN}\r\n"), None),
            (String::new(), None),
        ] {
            assert_eq!(gate.let_in(&request(&fields), 7).ok(), expect, "{fields}");
        }
        let with_token = |method: &str, token: &str| {
            let text = format!("{method} /?token={token} HTTP/1.1\r\n\r\n");
            gate.let_in(&parse(text.as_bytes()).unwrap().unwrap(), 7)
                .ok()
        };
        assert_eq!(with_token("GET", TOKEN), Some(Entry::New));
        assert_eq!(with_token("GET", "wrong"), None);
        assert_eq!(with_token("POST", TOKEN), None);
        let once = gate.once();
        assert_eq!(with_token("POST", once), None);
        assert_eq!(with_token("GET", once), Some(Entry::New));
        assert_eq!(with_token("GET", once), None, "it has been used");
    }
}
