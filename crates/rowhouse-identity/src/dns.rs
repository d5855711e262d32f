//! What the DNS tells of a domain, asked anew each time: a record that was made a moment ago counts,
//! and so does one that is gone.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use hickory_resolver::{Resolver, TokioResolver};

use crate::error::IdentityError;

/// Longest wait for one answer; a request that asks twice still ends in its own time.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The texts of a name's TXT records, each with its strings joined; none if there is no such record.
///
/// # Errors
/// [`IdentityError::Dns`] if no server answers.
pub(crate) async fn txt_lookup(server: Option<SocketAddr>, name: &str) -> Result<Vec<String>, IdentityError> {
    let failed = |error: NetError| IdentityError::Dns(error.to_string());
    let found = match resolver(server).map_err(failed)?.txt_lookup(format!("{name}.")).await {
        Ok(found) => found,
        Err(error) if error.is_no_records_found() => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let text = |data: &RData| match data {
        RData::TXT(txt) => Some(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned()),
        _ => None,
    };
    Ok(found.answers().iter().filter_map(|record| text(&record.data)).collect())
}

/// The machine's own resolver, or the server that is set.
fn resolver(server: Option<SocketAddr>) -> Result<TokioResolver, NetError> {
    let mut builder = match server {
        None => Resolver::builder_tokio()?,
        Some(server) => {
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                connection.port = server.port();
                connection
            });
            let server = NameServerConfig::new(server.ip(), true, connections.to_vec());
            let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
            Resolver::builder_with_config(config, TokioRuntimeProvider::default())
        }
    };
    let options = builder.options_mut();
    options.timeout = TIMEOUT;
    options.attempts = 1;
    options.cache_size = 0;
    builder.build()
}
