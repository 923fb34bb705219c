//! Whoever answers: an address, the name it is called by, and what every request to it carries.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use super::error::LoadError;

/// An address, taken apart: `http://127.0.0.1:7070/base?x=1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub tls: bool,
    pub host: String,
    pub port: u16,
    /// Path and query, `/` at least.
    pub path: String,
}

impl Address {
    pub fn parse(url: &str) -> Result<Self, LoadError> {
        let wrong = |why: &str| LoadError::Url { url: without_secrets(url), why: why.to_owned() };
        let (scheme, rest) =
            url.split_once("://").ok_or_else(|| wrong("it does not begin with http:// or https://"))?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(wrong("only http:// and https:// are spoken")),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err(wrong("a name and password in it would be written into reports; use --header"));
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => {
                let (host, after) = v6.split_once(']').ok_or_else(|| wrong("its [ has no ]"))?;
                (host, after.strip_prefix(':'))
            }
            None => match authority.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let fair = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
        if host.is_empty() || !host.chars().all(fair) {
            return Err(wrong("its host is missing or not a host's name"));
        }
        let port = match port {
            None | Some("") => 80 + 363 * u16::from(tls),
            Some(port) => port.parse().ok().filter(|p| *p > 0).ok_or_else(|| wrong("its port is not 1 to 65535"))?,
        };
        if path.bytes().any(|b| b <= b' ' || b == 0x7f) {
            return Err(wrong("its path holds a space or a control character"));
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { tls, host: host.to_ascii_lowercase(), port, path })
    }

    /// Returns what the Host header says.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == 80 + 363 * u16::from(self.tls) { host } else { format!("{host}:{}", self.port) }
    }

    /// Returns scheme, host and port, without a path.
    pub fn origin(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.authority())
    }

    /// Whether it can only be this machine.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// Asks the resolver where that is now; blocks.
    pub fn resolve(&self) -> std::io::Result<Vec<SocketAddr>> {
        let mut found: Vec<SocketAddr> = (self.host.as_str(), self.port).to_socket_addrs()?.collect();
        if self.is_loopback() {
            // Whatever a hosts file says, loopback load never leaves the machine.
            found.retain(|a| a.ip().is_loopback());
        }
        if found.is_empty() {
            return Err(std::io::Error::other(format!("{} has no address", self.host)));
        }
        Ok(found)
    }
}

/// Returns the address without what may be a secret in it.
fn without_secrets(url: &str) -> String {
    super::redact::redact(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let a = Address::parse("http://127.0.0.1:7070/v1/popular?n=3#top").expect("good");
        assert_eq!((a.tls, a.host.as_str(), a.port, a.path.as_str()), (false, "127.0.0.1", 7070, "/v1/popular?n=3"));
        let b = Address::parse("https://API.example.org").expect("good");
        assert_eq!((b.tls, b.port, b.path.as_str(), b.authority().as_str()), (true, 443, "/", "api.example.org"));
        let c = Address::parse("http://[::1]:80?x=1").expect("good");
        assert_eq!((c.host.as_str(), c.path.as_str(), c.authority().as_str()), ("::1", "/?x=1", "[::1]"));
        assert!(a.is_loopback() && c.is_loopback() && !b.is_loopback());
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for bad in [
            "127.0.0.1:80",
            "ftp://x",
            "http://",
            "http://:80",
            "http://h:0",
            "http://h:99999",
            "http://h:x",
            "http://u:p@h/",
            "http://[::1",
            "http://h/a b",
            "http://h\r\nX:/",
        ] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
        // Numbers that only look like loopback are other hosts.
        assert!(!Address::parse("http://127.0.0.1.example.org/").expect("good").is_loopback());
    }
}
