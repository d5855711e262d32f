//! The socket to a server: a Unix socket or TCP, used by several requests at once.

use std::io;

use bytes::BytesMut;
use tokio::io::{Interest, Ready};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::config::{Config, Host};

use crate::error::{DatabaseError, DatabaseResult};

pub(super) enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Socket {
    /// Connects to the first address of the configuration.
    pub(super) async fn connect(config: &Config) -> DatabaseResult<Self> {
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let connected = match config.get_hosts().first() {
            Some(Host::Unix(path)) => UnixStream::connect(path.join(format!(".s.PGSQL.{port}"))).await.map(Self::Unix),
            Some(Host::Tcp(name)) => TcpStream::connect((name.as_str(), port)).await.and_then(|stream| {
                stream.set_nodelay(true)?;
                Ok(Self::Tcp(stream))
            }),
            None => Err(io::Error::other("the database URL names no host")),
        };
        connected.map_err(|error| DatabaseError::Unavailable(error.to_string()))
    }

    /// Writes what the socket takes now.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.try_write(bytes),
            Self::Tcp(stream) => stream.try_write(bytes),
        }
    }

    /// Reads what has arrived; 0 at its end.
    pub(super) fn try_read(&self, bytes: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.try_read_buf(bytes),
            Self::Tcp(stream) => stream.try_read_buf(bytes),
        }
    }

    pub(super) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        match self {
            Self::Unix(stream) => stream.ready(interest).await,
            Self::Tcp(stream) => stream.ready(interest).await,
        }
    }
}
