//! Where a request comes from: the peer, or what proxies say that were declared.
//!
//! Must never believe a header that a client could have written: only a declared proxy's word
//! counts, and of the addresses it hands on only what it has added itself.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::ConnectInfo;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;
use rowhouse_identity::Device;

use crate::state::ServerState;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const USER_AGENT_LENGTH_MAX: usize = 200;

/// The proxies whose `X-Forwarded-For` is believed: addresses and networks, separated by commas.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Arc<[IpNet]>);

/// A text is no address and no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address and no network; write them as 192.0.2.1 or 10.0.0.0/8, separated by commas")]
pub struct ProxyError(String);

impl FromStr for TrustedProxies {
    type Err = ProxyError;

    fn from_str(text: &str) -> Result<Self, ProxyError> {
        let one = |text: &str| {
            let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            network.map_err(|_| ProxyError(text.to_owned()))
        };
        let texts = text.split(',').map(str::trim).filter(|text| !text.is_empty());
        texts.map(one).collect::<Result<_, _>>().map(Self)
    }
}

impl TrustedProxies {
    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client's address. Each proxy adds whom it was called by at the end of the list, so it is
    /// read from there, as far as proxies are trusted.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        let lines: Vec<&str> = headers.get_all(FORWARDED_FOR).iter().filter_map(|line| line.to_str().ok()).collect();
        for hop in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
            if !self.trusts(client) {
                break;
            }
            // What a trusted proxy has written and nobody can read hides whoever is behind it.
            let Some(before) = address_of(hop.trim()) else { break };
            client = before.to_canonical();
        }
        client
    }
}

/// An address, with or without a port.
fn address_of(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    bare.parse().ok().or_else(|| text.parse().ok().map(|socket: SocketAddr| socket.ip()))
}

/// The address of the client.
pub(crate) fn client_ip(state: &ServerState, parts: &Parts) -> Option<IpAddr> {
    let ConnectInfo(peer) = parts.extensions.get::<ConnectInfo<SocketAddr>>()?;
    Some(state.settings.trusted_proxies.client(peer.ip(), &parts.headers))
}

/// The device a request comes from, for the list of sessions and the security events.
pub(crate) fn device(state: &ServerState, parts: &Parts) -> Device {
    let user_agent = parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    let user_agent = user_agent.map(|text| text.chars().take(USER_AGENT_LENGTH_MAX).collect());
    Device { ip: client_ip(state, parts), user_agent }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(proxies: &str, peer: &str, forwarded: &[&str]) -> String {
        let proxies: TrustedProxies = proxies.parse().unwrap();
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append(FORWARDED_FOR, line.parse().unwrap());
        }
        proxies.client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn only_what_declared_proxies_have_added_is_believed() {
        let forged = ["203.0.113.9"];
        assert_eq!(client("", "192.0.2.1", &forged), "192.0.2.1", "no proxy is declared");
        assert_eq!(client("10.0.0.0/8", "192.0.2.1", &forged), "192.0.2.1", "the peer is none");
        assert_eq!(client("10.0.0.0/8", "10.1.2.3", &["192.0.2.1"]), "192.0.2.1");
        assert_eq!(client("10.0.0.0/8", "10.1.2.3", &["203.0.113.9, 192.0.2.1"]), "192.0.2.1", "it wrote the first");
        assert_eq!(client("10.0.0.0/8", "10.1.2.3", &["203.0.113.9", "192.0.2.1"]), "192.0.2.1", "in two lines");
        assert_eq!(client("10.0.0.0/8", "10.1.2.3", &["192.0.2.1, 10.9.9.9"]), "192.0.2.1", "two proxies");
        assert_eq!(client("10.0.0.1", "10.0.0.1", &["192.0.2.1, 10.9.9.9"]), "10.9.9.9", "one of them is declared");
        assert_eq!(client("10.0.0.0/8", "10.1.2.3", &["203.0.113.9, nonsense"]), "10.1.2.3");
        assert_eq!(client("10.0.0.0/8", "10.1.2.3", &[]), "10.1.2.3");
    }

    #[test]
    fn addresses_come_in_every_form() {
        for (text, expected) in [
            ("192.0.2.1:4711", "192.0.2.1"),
            ("[2001:db8::7]:4711", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("2001:db8::7", "2001:db8::7"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(client("::1, 127.0.0.1", "::1", &[text]), expected);
        }
        assert_eq!(client("127.0.0.1", "::ffff:127.0.0.1", &["192.0.2.1"]), "192.0.2.1");
    }

    #[test]
    fn what_is_no_network_is_named() {
        let error = "10.0.0.0/8, proxy.example".parse::<TrustedProxies>().unwrap_err();
        assert!(error.to_string().contains("proxy.example"));
        assert!("10.0.0.0/33".parse::<TrustedProxies>().is_err());
    }
}
