//! Whom a callback may go to. An address that a caller names must not make the server ask where the caller could not: only
//! hosts that the operator named, only over TLS, and only where their names lead to public networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use onefold_core::erasure::CALLBACK_BYTES_MAX;

use crate::outgoing::Place;

/// Who may be called back.
#[derive(Clone, Debug, Default)]
pub struct CallbackRules {
    /// Hosts and ports.
    pub hosts: Vec<(String, u16)>,
    /// Private networks and this machine too, and to this machine without TLS.
    pub allow_private: bool,
}

impl CallbackRules {
    /// Whether an address may be called, as far as its text says.
    ///
    /// # Errors
    /// Why not.
    pub fn admit(&self, url: &str) -> Result<Place, &'static str> {
        if url.len() > CALLBACK_BYTES_MAX {
            return Err("is longer than 512 bytes");
        }
        // It is kept in the clear as long as the log is: it must not be able to hold a name or an address by accident.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?=&[]".contains(&byte);
        if !url.bytes().all(plain) {
            return Err("may hold letters, digits and -._~/?=& alone, for it is kept in the clear");
        }
        let place = Place::read(url).ok_or("is no address that begins with https://")?;
        let may_be_clear = self.allow_private && is_this_machine(&place.host);
        if !place.encrypted && !may_be_clear {
            return Err("must begin with https://");
        }
        let known = self.hosts.iter().any(|(host, port)| *host == place.host && *port == place.port);
        if known {
            Ok(place)
        } else {
            Err("is of a host that this processor does not call back; its operator names them")
        }
    }

    /// Those of the addresses that a host's name leads to that may be called.
    #[must_use]
    pub fn reachable(&self, place: &Place, found: Vec<SocketAddr>) -> Vec<SocketAddr> {
        let may = |address: &SocketAddr| {
            let ip = address.ip().to_canonical();
            if !place.encrypted { self.allow_private && ip.is_loopback() } else { self.allow_private || is_public(ip) }
        };
        found.into_iter().filter(may).collect()
    }
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether an address is of the public internet (IANA's special-purpose registries; RFC 6890).
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_documentation()
        || a == 0
        || (a == 100 && (64..128).contains(&b))
        || (a, b, c) == (192, 0, 0)
        || (a, b, c) == (192, 88, 99)
        || (a == 198 && (18..20).contains(&b))
        || a >= 240;
    !special
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let parts = ip.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match parts {
        // What a translator would make of it is what counts: NAT64 and 6to4.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => embedded(high, low),
        // Teredo and other protocols, documentation.
        [0x2001, second, ..] => second >= 0x200 && second != 0xdb8,
        [0x3fff, second, ..] => second >= 0x1000,
        [first, ..] => (0x2000..0x4000).contains(&first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_public_is_public() {
        for public in ["8.8.8.8", "203.0.114.1", "172.32.0.1", "2606:4700::1111", "64:ff9b::808:808", "2002:808:808::1"]
        {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for special in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "192.0.2.1",
            "192.0.0.1",
            "240.0.0.1",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "fec0::1",
            "2001:db8::1",
            "2001::1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "2002:a00:1::1",
            "2002:7f00:1::1",
            "::127.0.0.1",
            "3fff::1",
        ] {
            assert!(!is_public(special.parse().unwrap()), "{special}");
        }
        // A mapped address is the one that it maps.
        let rules = CallbackRules { hosts: vec![("a.example".to_owned(), 443)], allow_private: false };
        let place = rules.admit("https://a.example/x").unwrap();
        let found = ["[::ffff:127.0.0.1]:443", "10.0.0.1:443", "8.8.8.8:443"].map(|text| text.parse().unwrap());
        assert_eq!(rules.reachable(&place, found.to_vec()), ["8.8.8.8:443".parse().unwrap()]);
    }

    #[test]
    fn only_hosts_that_were_named_are_called_and_only_over_tls() {
        let hosts = vec![("a.example".to_owned(), 443), ("b.example".to_owned(), 8443), ("127.0.0.1".to_owned(), 80)];
        let rules = |allow_private| CallbackRules { hosts: hosts.clone(), allow_private };
        let long = format!("https://a.example/{}", "x".repeat(600));
        for (url, usually, privately) in [
            ("https://a.example/opendsr/callbacks", true, true),
            ("https://A.example:443/x?id=1&b=2", true, true),
            ("https://b.example:8443/", true, true),
            ("https://b.example/", false, false),
            ("https://a.example.evil.org/", false, false),
            ("https://a.example@evil.org/", false, false),
            ("https://evil.org/#a.example", false, false),
            ("https://a.example/ada@lovelace.org", false, false),
            ("https://a.example/%41da", false, false),
            ("http://a.example/", false, false),
            ("http://127.0.0.1/x", false, true),
            ("https://127.0.0.1/x", false, false),
            ("ftp://a.example/", false, false),
            ("a.example", false, false),
            ("", false, false),
            (long.as_str(), false, false),
        ] {
            assert_eq!(rules(false).admit(url).is_ok(), usually, "{url}");
            assert_eq!(rules(true).admit(url).is_ok(), privately, "{url}");
        }
        assert!(CallbackRules::default().admit("https://a.example/").is_err(), "nobody was named");
        // In the clear, this machine and no other, whatever a name leads to.
        let place = rules(true).admit("http://127.0.0.1/x").unwrap();
        let found = ["10.0.0.1:80", "127.0.0.1:80"].map(|text| text.parse().unwrap());
        assert_eq!(rules(true).reachable(&place, found.to_vec()), ["127.0.0.1:80".parse().unwrap()]);
    }
}
