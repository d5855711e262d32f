//! A tenant's statements in one message and one answer, spoken by the caller itself.
//!
//! The ordinary driver ends every statement with a Sync of its own and wakes a task for each
//! answer. Here the tenant's setting and its statements share one Sync, and with it one implicit
//! transaction (PostgreSQL's extended query protocol, "Pipelining"); whoever waits reads the socket
//! itself (measured: half of the driver's cost for a list). Connections are never shared: one
//! request at a time.
//!
//! A request that is dropped leaves an answer owed. The next one to use the connection reads what
//! is owed first; nothing of it is taken for its own.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::Arc;

use bytes::{Buf as _, BytesMut};
use fallible_iterator::FallibleIterator as _;
use futures_util::FutureExt as _;
use lru::LruCache;
use postgres_protocol::IsNull;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::backend::{Message, RowDescriptionBody};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::config::{Config, Host};
use tokio_postgres::types::{Format, ToSql as _, Type};

use crate::error::{DatabaseError, DatabaseResult, ServerError};
use crate::param::Param;
use crate::row::{Column, Row, Rows};
use crate::tenant::Statement;

/// Room that is made before each read: a page of records fits.
const READ_BYTES: usize = 16 * 1024;

trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for S {}

/// A statement that the server knows by name.
#[derive(Debug, Clone)]
struct Prepared {
    name: Box<str>,
    types: Box<[u32]>,
    columns: Arc<[Column]>,
}

/// A connection of its own protocol.
pub(crate) struct Wire {
    stream: Box<dyn Stream>,
    incoming: BytesMut,
    /// What has yet to be written; a dropped request may leave some.
    outgoing: BytesMut,
    written: usize,
    /// Answers the server has yet to end with ReadyForQuery.
    owed: u32,
    statements: LruCache<Box<str>, Prepared>,
    /// Statements that are being prepared by the answer that is owed, in order.
    fresh: VecDeque<(Box<str>, Prepared)>,
    /// Names to be closed with the next message.
    forgotten: Vec<Box<str>>,
    named: u64,
    /// Whether the last answer ended outside any transaction.
    at_rest: bool,
    broken: bool,
}

/// What is done with one answer.
struct Answer {
    /// The results of the statements that are done.
    results: Vec<Vec<Row>>,
    /// The rows so far of the statement that is being answered.
    rows: Option<Rows>,
    columns: Vec<Option<Arc<[Column]>>>,
    error: Option<DatabaseError>,
}

fn broken(error: impl std::fmt::Display) -> DatabaseError {
    DatabaseError::Unavailable(error.to_string())
}

impl Wire {
    /// Whether this way serves such a server: one address. It has no TLS.
    pub(crate) fn serves(config: &Config) -> bool {
        config.get_hosts().len() == 1
    }

    /// Connects and signs in.
    pub(crate) async fn connect(config: &Config, statements_max: NonZeroUsize) -> DatabaseResult<Self> {
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let stream: Box<dyn Stream> = match config.get_hosts().first() {
            Some(Host::Unix(path)) => {
                let socket = path.join(format!(".s.PGSQL.{port}"));
                Box::new(UnixStream::connect(socket).await.map_err(broken)?)
            }
            Some(Host::Tcp(name)) => {
                let stream = TcpStream::connect((name.as_str(), port)).await.map_err(broken)?;
                stream.set_nodelay(true).map_err(broken)?;
                Box::new(stream)
            }
            None => return Err(broken("the database URL names no host")),
        };
        let mut wire = Self {
            stream,
            incoming: BytesMut::with_capacity(READ_BYTES),
            outgoing: BytesMut::with_capacity(READ_BYTES),
            written: 0,
            owed: 0,
            statements: LruCache::new(statements_max),
            fresh: VecDeque::new(),
            forgotten: Vec::new(),
            named: 0,
            at_rest: true,
            broken: false,
        };
        wire.sign_in(config).await?;
        Ok(wire)
    }

    async fn sign_in(&mut self, config: &Config) -> DatabaseResult<()> {
        let (user, database) = (config.get_user().unwrap_or_default(), config.get_dbname().unwrap_or_default());
        let name = config.get_application_name().unwrap_or_default();
        let parameters =
            [("user", user), ("database", database), ("application_name", name), ("client_encoding", "UTF8")];
        let password = config.get_password().unwrap_or_default();
        frontend::startup_message(parameters, &mut self.outgoing).map_err(broken)?;
        let mut scram = None;
        loop {
            self.flush().await?;
            match self.message().await? {
                Message::AuthenticationCleartextPassword => {
                    frontend::password_message(password, &mut self.outgoing).map_err(broken)?;
                }
                Message::AuthenticationMd5Password(body) => {
                    let hash = md5_hash(user.as_bytes(), password, body.salt());
                    frontend::password_message(hash.as_bytes(), &mut self.outgoing).map_err(broken)?;
                }
                Message::AuthenticationSasl(_) => {
                    let exchange = scram.insert(ScramSha256::new(password, ChannelBinding::unsupported()));
                    frontend::sasl_initial_response(SCRAM_SHA_256, exchange.message(), &mut self.outgoing)
                        .map_err(broken)?;
                }
                Message::AuthenticationSaslContinue(body) => {
                    let exchange = scram.as_mut().ok_or_else(|| broken("an answer without a question"))?;
                    exchange.update(body.data()).map_err(broken)?;
                    frontend::sasl_response(exchange.message(), &mut self.outgoing).map_err(broken)?;
                }
                Message::AuthenticationSaslFinal(body) => {
                    let exchange = scram.as_mut().ok_or_else(|| broken("an answer without a question"))?;
                    exchange.finish(body.data()).map_err(broken)?;
                }
                Message::ErrorResponse(body) => return Err(ServerError::read(&body).into()),
                Message::ReadyForQuery(_) => return Ok(()),
                Message::AuthenticationGss | Message::AuthenticationSspi | Message::AuthenticationKerberosV5 => {
                    return Err(DatabaseError::Driver("the server asks for a way to sign in that is not known".into()));
                }
                _ => {}
            }
        }
    }

    /// Whether an idle connection may be used: nothing is owed, no transaction is open, and the
    /// server has not ended it.
    pub(crate) async fn is_sound(&mut self) -> bool {
        if self.broken || self.settle().await.is_err() || !self.at_rest {
            return false;
        }
        // Whatever the server says unasked (a shutdown, a changed setting) is no answer to come.
        self.incoming.is_empty() && self.stream.read_buf(&mut self.incoming).now_or_never().is_none()
    }

    /// Forgets every prepared statement: after a migration their result types may be stale.
    pub(crate) fn forget_statements(&mut self) {
        while let Some((_, prepared)) = self.statements.pop_lru() {
            self.forgotten.push(prepared.name);
        }
    }

    /// Runs statements without parameters and discards their results.
    pub(crate) async fn batch(&mut self, sql: &str) -> DatabaseResult<()> {
        self.settle().await?;
        frontend::query(sql, &mut self.outgoing).map_err(|error| DatabaseError::Driver(error.to_string()))?;
        self.owed += 1;
        let mut answer = Answer::new(0);
        self.exchange(&mut answer).await?;
        answer.error.map_or(Ok(()), Err)
    }

    /// Runs statements outside a transaction, in one message: they form one of their own.
    pub(crate) async fn run_alone(&mut self, statements: &[Statement<'_>]) -> DatabaseResult<Vec<Vec<Row>>> {
        match self.run(statements).await {
            // Another process has migrated the schema: a plan's columns are others than they were.
            // Nothing has been done yet, so the statements are prepared anew.
            Err(DatabaseError::Other { code, .. }) if code == "0A000" => {
                self.forget_statements();
                self.run(statements).await
            }
            outcome => outcome,
        }
    }

    /// Runs statements in one message, within the transaction if there is one.
    pub(crate) async fn run(&mut self, statements: &[Statement<'_>]) -> DatabaseResult<Vec<Vec<Row>>> {
        self.settle().await?;
        let mut answer = Answer::new(statements.len());
        if let Err(error) = self.write(statements, &mut answer) {
            // Nothing was sent, so nothing is known to the server.
            self.outgoing.clear();
            self.fresh.clear();
            return Err(error);
        }
        self.owed += 1;
        self.exchange(&mut answer).await?;
        match answer.error {
            Some(error) => Err(error),
            None => Ok(answer.results),
        }
    }

    fn write(&mut self, statements: &[Statement<'_>], answer: &mut Answer) -> DatabaseResult<()> {
        let driver = |error: std::io::Error| DatabaseError::Driver(error.to_string());
        for name in self.forgotten.drain(..) {
            frontend::close(b'S', &name, &mut self.outgoing).map_err(driver)?;
        }
        for Statement { sql, params } in statements {
            let types: Box<[u32]> = params.iter().map(oid_of).collect();
            let known = self.statements.get(*sql).filter(|prepared| prepared.types == types).cloned();
            let name = match known {
                Some(prepared) => {
                    answer.columns.push(Some(prepared.columns));
                    prepared.name
                }
                None => {
                    self.named += 1;
                    let name: Box<str> = format!("s{}", self.named).into();
                    frontend::parse(&name, sql, types.iter().copied(), &mut self.outgoing).map_err(driver)?;
                    frontend::describe(b'S', &name, &mut self.outgoing).map_err(driver)?;
                    let prepared = Prepared { name: name.clone(), types, columns: Arc::new([]) };
                    self.fresh.push_back(((*sql).into(), prepared));
                    answer.columns.push(None);
                    name
                }
            };
            bind(&name, params, &mut self.outgoing)?;
            frontend::execute("", 0, &mut self.outgoing).map_err(driver)?;
        }
        frontend::sync(&mut self.outgoing);
        Ok(())
    }

    /// Sends what is to be sent and reads one answer to its end.
    async fn exchange(&mut self, answer: &mut Answer) -> DatabaseResult<()> {
        self.flush().await?;
        loop {
            while self.take_row(answer) {}
            match self.message().await? {
                Message::ReadyForQuery(body) => {
                    self.at_rest = body.status() == b'I';
                    // What was not prepared after all must not be waited for.
                    self.forgotten.extend(self.fresh.drain(..).map(|(_, prepared)| prepared.name));
                    self.owed -= 1;
                    return Ok(());
                }
                Message::DataRow(body) => answer.row(body.buffer(), self.incoming.len()),
                Message::CommandComplete(_) | Message::EmptyQueryResponse => answer.next_statement(),
                Message::RowDescription(body) => {
                    let columns = columns_of(&body)?;
                    self.prepared(answer, columns);
                }
                Message::NoData => self.prepared(answer, Arc::new([])),
                Message::ErrorResponse(body) => answer.fail(ServerError::read(&body).into()),
                _ => {}
            }
        }
    }

    /// Takes a row that has arrived whole, without making a message of it (measured: a tenth of a
    /// list's time). False if something else comes next.
    fn take_row(&mut self, answer: &mut Answer) -> bool {
        // A tag; the length, which counts itself; the number of values; the values.
        let Some((&[b'D', ref length @ ..], rest)) = self.incoming.split_first_chunk::<5>() else { return false };
        let Some(length) = usize::try_from(u32::from_be_bytes(*length)).ok().and_then(|length| length.checked_sub(4))
        else {
            return false;
        };
        let Some(values) = rest.get(..length).and_then(|body| body.get(2..)) else { return false };
        answer.row(values, self.incoming.len());
        self.incoming.advance(5 + length);
        true
    }

    /// A statement stands with its columns: only now may the next request rely on it.
    fn prepared(&mut self, answer: &mut Answer, columns: Arc<[Column]>) {
        // A simple query describes its rows too; they are discarded.
        let Some((sql, prepared)) = self.fresh.pop_front() else { return };
        if let Some(place) = answer.columns.iter_mut().find(|columns| columns.is_none()) {
            *place = Some(columns.clone());
        }
        if let Some((_, evicted)) = self.statements.push(sql, Prepared { columns, ..prepared }) {
            self.forgotten.push(evicted.name);
        }
    }

    /// Reads what earlier requests have left.
    async fn settle(&mut self) -> DatabaseResult<()> {
        if self.owed == 0 {
            return Ok(());
        }
        let mut answer = Answer::new(0);
        self.exchange(&mut answer).await
    }

    /// Writes what is to be written. Dropped midway, the next call goes on where it stopped.
    async fn flush(&mut self) -> DatabaseResult<()> {
        while self.written < self.outgoing.len() {
            match self.stream.write(&self.outgoing[self.written..]).await {
                Ok(0) => return Err(self.ended("the connection was closed")),
                Ok(count) => self.written += count,
                Err(error) => return Err(self.ended(error)),
            }
        }
        self.outgoing.clear();
        self.written = 0;
        self.stream.flush().await.map_err(|error| self.ended(error))
    }

    async fn message(&mut self) -> DatabaseResult<Message> {
        loop {
            match Message::parse(&mut self.incoming) {
                Ok(Some(message)) => return Ok(message),
                Ok(None) => {}
                Err(error) => return Err(self.ended(error)),
            }
            self.incoming.reserve(READ_BYTES);
            match self.stream.read_buf(&mut self.incoming).await {
                Ok(0) => return Err(self.ended("the connection was closed")),
                Ok(_) => {}
                Err(error) => return Err(self.ended(error)),
            }
        }
    }

    fn ended(&mut self, error: impl std::fmt::Display) -> DatabaseError {
        self.broken = true;
        broken(error)
    }
}

impl Answer {
    fn new(statements: usize) -> Self {
        Self {
            results: Vec::with_capacity(statements),
            rows: None,
            columns: Vec::with_capacity(statements),
            error: None,
        }
    }

    /// `arrived` is how much of the answer is there, for most of them all of it.
    fn row(&mut self, values: &[u8], arrived: usize) {
        if self.rows.is_none() {
            let columns = self.columns.get(self.results.len()).cloned().flatten();
            // Of a simple query, whose rows are discarded, or of what an earlier request left.
            let Some(columns) = columns else { return };
            self.rows = Some(Rows::new(columns, arrived));
        }
        if let Some(rows) = &mut self.rows {
            rows.push(values);
        }
    }

    fn next_statement(&mut self) {
        if self.results.len() < self.columns.len() {
            self.results.push(self.rows.take().map(Rows::finish).unwrap_or_default());
        }
    }

    /// The first error is the cause; what follows is skipped by the server up to the Sync.
    fn fail(&mut self, error: DatabaseError) {
        self.error.get_or_insert(error);
    }
}

/// Statements state their parameters' types, so that one Parse is enough; the server infers those
/// of the data API's values.
fn oid_of(param: &Param<'_>) -> u32 {
    match param.type_of() {
        Type::UNKNOWN => 0,
        ty => ty.oid(),
    }
}

fn bind(name: &str, params: &[Param<'_>], out: &mut BytesMut) -> DatabaseResult<()> {
    let formats = params.iter().map(|param| match param.encode_format(&Type::UNKNOWN) {
        Format::Text => 0,
        Format::Binary => 1,
    });
    let write = |param: &Param<'_>, out: &mut BytesMut| {
        Ok(match param.to_sql(&param.type_of(), out)? {
            tokio_postgres::types::IsNull::Yes => IsNull::Yes,
            tokio_postgres::types::IsNull::No => IsNull::No,
        })
    };
    frontend::bind("", name, formats, params, write, [1], out)
        .map_err(|_| DatabaseError::Driver("a parameter could not be written".into()))
}

fn columns_of(body: &RowDescriptionBody) -> DatabaseResult<Arc<[Column]>> {
    let mut columns = Vec::new();
    let mut fields = body.fields();
    while let Some(field) = fields.next().map_err(broken)? {
        // Types of the app's own are read as text; statements cast them.
        let ty = Type::from_oid(field.type_oid()).unwrap_or(Type::TEXT);
        columns.push(Column::new(field.name(), ty));
    }
    Ok(columns.into())
}
