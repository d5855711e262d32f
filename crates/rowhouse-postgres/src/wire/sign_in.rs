//! Signing in to a server (PostgreSQL's protocol, "Start-up").

use std::io;

use bytes::{Buf as _, BytesMut};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;
use tokio::io::Interest;
use tokio_postgres::config::Config;

use super::socket::Socket;
use super::{READ_BYTES, broken};
use crate::error::{DatabaseError, DatabaseResult, ServerError};

/// Signs in with the configuration's role and password. Gives what has arrived beyond it.
pub(super) async fn sign_in(socket: &Socket, config: &Config) -> DatabaseResult<BytesMut> {
    let (user, database) = (config.get_user().unwrap_or_default(), config.get_dbname().unwrap_or_default());
    let name = config.get_application_name().unwrap_or_default();
    let parameters = [("user", user), ("database", database), ("application_name", name), ("client_encoding", "UTF8")];
    let password = config.get_password().unwrap_or_default();
    let mut talk = Talk { socket, incoming: BytesMut::with_capacity(READ_BYTES), outgoing: BytesMut::new() };
    frontend::startup_message(parameters, &mut talk.outgoing).map_err(broken)?;
    let mut scram = None;
    loop {
        match talk.message().await? {
            Message::AuthenticationCleartextPassword => {
                frontend::password_message(password, &mut talk.outgoing).map_err(broken)?;
            }
            Message::AuthenticationMd5Password(body) => {
                let hash = md5_hash(user.as_bytes(), password, body.salt());
                frontend::password_message(hash.as_bytes(), &mut talk.outgoing).map_err(broken)?;
            }
            Message::AuthenticationSasl(_) => {
                let exchange = scram.insert(ScramSha256::new(password, ChannelBinding::unsupported()));
                frontend::sasl_initial_response(SCRAM_SHA_256, exchange.message(), &mut talk.outgoing)
                    .map_err(broken)?;
            }
            Message::AuthenticationSaslContinue(body) => {
                let exchange = scram.as_mut().ok_or_else(|| broken("an answer without a question"))?;
                exchange.update(body.data()).map_err(broken)?;
                frontend::sasl_response(exchange.message(), &mut talk.outgoing).map_err(broken)?;
            }
            Message::AuthenticationSaslFinal(body) => {
                let exchange = scram.as_mut().ok_or_else(|| broken("an answer without a question"))?;
                exchange.finish(body.data()).map_err(broken)?;
            }
            Message::ErrorResponse(body) => return Err(ServerError::read(&body).into()),
            Message::ReadyForQuery(_) => return Ok(talk.incoming),
            Message::AuthenticationGss | Message::AuthenticationSspi | Message::AuthenticationKerberosV5 => {
                return Err(DatabaseError::Driver("the server asks for a way to sign in that is not known".into()));
            }
            _ => {}
        }
    }
}

struct Talk<'a> {
    socket: &'a Socket,
    incoming: BytesMut,
    outgoing: BytesMut,
}

impl Talk<'_> {
    /// Sends what there is to send, and waits for a message.
    async fn message(&mut self) -> DatabaseResult<Message> {
        loop {
            if let Some(message) = Message::parse(&mut self.incoming).map_err(broken)? {
                return Ok(message);
            }
            let done = if self.outgoing.is_empty() { self.read() } else { self.write() };
            match done {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let waits = if self.outgoing.is_empty() { Interest::READABLE } else { Interest::WRITABLE };
                    self.socket.ready(waits).await.map_err(broken)?;
                }
                Err(error) => return Err(broken(error)),
            }
        }
    }

    fn read(&mut self) -> io::Result<()> {
        self.incoming.reserve(READ_BYTES);
        match self.socket.try_read(&mut self.incoming)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    fn write(&mut self) -> io::Result<()> {
        match self.socket.try_write(&self.outgoing)? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            count => {
                self.outgoing.advance(count);
                Ok(())
            }
        }
    }
}
