//! A tenant's statements in one message and one answer, spoken by the caller itself.
//!
//! The ordinary driver ends every statement with a Sync of its own and wakes a task for each
//! answer. Here the tenant's setting and its statements share one Sync, and with it one implicit
//! transaction (PostgreSQL's extended query protocol, "Pipelining"); whoever waits reads the socket
//! itself (measured: half of the driver's cost for a list).
//!
//! Several requests may be under way at once, each a message of its own: the server answers them in
//! their order. Whoever has the reading side reads until its own answer is there, and leaves to the
//! others what it passes. A request that is dropped leaves its answer to be read by the next one;
//! nothing of it is taken for another's.

mod answer;
mod sign_in;
mod socket;

use std::collections::VecDeque;
use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf as _, BytesMut};
use fallible_iterator::FallibleIterator as _;
use lru::LruCache;
use postgres_protocol::IsNull;
use postgres_protocol::message::backend::{Message, RowDescriptionBody};
use postgres_protocol::message::frontend;
use tokio::io::Interest;
use tokio_postgres::config::Config;
use tokio_postgres::types::{Format, ToSql as _, Type};

use self::answer::{Answer, Prepared, Results, Slot};
use self::socket::Socket;
use crate::error::{DatabaseError, DatabaseResult, ServerError};
use crate::param::Param;
use crate::row::Column;
use crate::tenant::Statement;

/// Room that is made before each read: a page of records fits.
const READ_BYTES: usize = 16 * 1024;

/// A connection of its own protocol.
pub(crate) struct Wire {
    socket: Socket,
    broken: AtomicBool,
    outgoing: Mutex<Outgoing>,
    incoming: tokio::sync::Mutex<Incoming>,
}

/// The writing side. Locked for as long as it takes to write, never across a wait.
struct Outgoing {
    /// What the socket has not taken yet.
    bytes: BytesMut,
    /// Answers that the server owes and has not begun.
    owed: VecDeque<Answer>,
    statements: LruCache<Box<str>, Prepared>,
    /// Names to be closed with the next message.
    forgotten: Vec<Box<str>>,
    named: u64,
}

/// The reading side, of one request at a time.
struct Incoming {
    bytes: BytesMut,
    /// The answer that is arriving.
    current: Option<Answer>,
    /// Whether the last answer ended outside any transaction.
    at_rest: bool,
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
        let socket = Socket::connect(config).await?;
        let bytes = sign_in::sign_in(&socket, config).await?;
        let outgoing = Outgoing {
            bytes: BytesMut::with_capacity(READ_BYTES),
            owed: VecDeque::new(),
            statements: LruCache::new(statements_max),
            forgotten: Vec::new(),
            named: 0,
        };
        Ok(Self {
            socket,
            broken: AtomicBool::new(false),
            outgoing: Mutex::new(outgoing),
            incoming: tokio::sync::Mutex::new(Incoming { bytes, current: None, at_rest: true }),
        })
    }

    fn outgoing(&self) -> MutexGuard<'_, Outgoing> {
        self.outgoing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an idle connection may be used: nothing is owed, no transaction is open, and the
    /// server has not ended it.
    pub(crate) async fn is_sound(&self) -> bool {
        let mut incoming = self.incoming.lock().await;
        while incoming.current.is_some() || !self.outgoing().owed.is_empty() {
            if self.read_answer(&mut incoming).await.is_err() {
                return false;
            }
        }
        incoming.at_rest && self.is_silent(&mut incoming)
    }

    /// Whether a shared connection may be used: as far as can be told without waiting, the server
    /// has not ended it.
    pub(crate) fn is_open(&self) -> bool {
        if self.broken.load(Ordering::Acquire) {
            return false;
        }
        // Somebody who reads finds out.
        let Ok(mut incoming) = self.incoming.try_lock() else { return true };
        incoming.current.is_some() || !self.outgoing().owed.is_empty() || self.is_silent(&mut incoming)
    }

    /// Whatever the server says unasked (a shutdown, a changed setting) is no answer to come.
    fn is_silent(&self, incoming: &mut Incoming) -> bool {
        let nothing = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
        !self.broken.load(Ordering::Acquire)
            && incoming.bytes.is_empty()
            && self.socket.try_read(&mut incoming.bytes).is_err_and(nothing)
    }

    /// Forgets every prepared statement: after a migration their result types may be stale.
    pub(crate) fn forget_statements(&self) {
        let mut outgoing = self.outgoing();
        while let Some((_, prepared)) = outgoing.statements.pop_lru() {
            outgoing.forgotten.push(prepared.name);
        }
    }

    /// Runs statements without parameters and discards their results.
    pub(crate) async fn batch(&self, sql: &str) -> DatabaseResult<()> {
        let slot = self.write(0, |outgoing, _| frontend::query(sql, &mut outgoing.bytes).map_err(driver))?;
        self.flush(&mut self.outgoing())?;
        self.receive(&slot).await.map(drop)
    }

    /// Runs statements outside a transaction, in one message: they form one of their own. On a
    /// `shared` connection the messages of all requests that are ready are sent together, so that
    /// the server is woken once for them.
    pub(crate) async fn run_alone(&self, statements: &[Statement<'_>], shared: bool) -> DatabaseResult<Results> {
        match self.exchange(statements, shared).await {
            // Another process has migrated the schema: a plan's columns are others than they were.
            // Nothing has been done yet, so the statements are prepared anew.
            Err(DatabaseError::Other { code, .. }) if code == "0A000" => {
                self.forget_statements();
                self.exchange(statements, shared).await
            }
            outcome => outcome,
        }
    }

    /// Runs statements in one message, within the transaction if there is one.
    pub(crate) async fn run(&self, statements: &[Statement<'_>]) -> DatabaseResult<Results> {
        self.exchange(statements, false).await
    }

    async fn exchange(&self, statements: &[Statement<'_>], shared: bool) -> DatabaseResult<Results> {
        let slot = self.write(statements.len(), |outgoing, answer| outgoing.write(statements, answer))?;
        let unsent = Unsent(self);
        if shared {
            tokio::task::yield_now().await;
        }
        drop(unsent);
        self.receive(&slot).await
    }

    /// Writes a message, to be sent, and has its answer owed; or does neither.
    fn write(
        &self,
        statements: usize,
        write: impl FnOnce(&mut Outgoing, &mut Answer) -> DatabaseResult<()>,
    ) -> DatabaseResult<Slot> {
        let mut answer = Answer::new(statements);
        let slot = answer.slot();
        let mut outgoing = self.outgoing();
        outgoing.close_forgotten()?;
        let before = outgoing.bytes.len();
        if let Err(error) = write(&mut outgoing, &mut answer) {
            outgoing.bytes.truncate(before);
            return Err(error);
        }
        outgoing.owed.push_back(answer);
        Ok(slot)
    }

    /// Reads until this answer is there.
    async fn receive(&self, slot: &Slot) -> DatabaseResult<Results> {
        let mut incoming = self.incoming.lock().await;
        loop {
            if let Some(outcome) = slot.take() {
                return outcome;
            }
            self.read_answer(&mut incoming).await?;
        }
    }

    /// Reads one answer to its end. Dropped midway, the next call goes on where it stopped.
    async fn read_answer(&self, incoming: &mut Incoming) -> DatabaseResult<()> {
        if self.broken.load(Ordering::Acquire) {
            return Err(broken("the connection was closed"));
        }
        while !self.take_messages(incoming)? {
            self.read(incoming).await?;
        }
        Ok(())
    }

    /// Takes what has arrived whole. True if an answer has ended.
    fn take_messages(&self, incoming: &mut Incoming) -> DatabaseResult<bool> {
        loop {
            while incoming.take_row() {}
            let message = Message::parse(&mut incoming.bytes).map_err(|error| self.ended(error))?;
            let Some(message) = message else { return Ok(false) };
            if incoming.current.is_none() {
                incoming.current = self.outgoing().owed.pop_front();
            }
            // What the server says unasked answers nobody; an end of the connection follows it.
            let Some(answer) = &mut incoming.current else { continue };
            match message {
                Message::ReadyForQuery(body) => {
                    incoming.at_rest = body.status() == b'I';
                    if let Some(answer) = incoming.current.take() {
                        // What was not prepared after all must not be waited for.
                        self.outgoing().forgotten.extend(answer.finish());
                    }
                    return Ok(true);
                }
                Message::DataRow(body) => answer.row(body.buffer(), incoming.bytes.len()),
                Message::CommandComplete(_) | Message::EmptyQueryResponse => answer.next_statement(),
                Message::RowDescription(body) => self.prepared(answer, columns_of(&body)?),
                Message::NoData => self.prepared(answer, Arc::new([])),
                Message::ErrorResponse(body) => answer.fail(ServerError::read(&body).into()),
                _ => {}
            }
        }
    }

    fn prepared(&self, answer: &mut Answer, columns: Arc<[Column]>) {
        let Some((sql, prepared)) = answer.prepared(columns) else { return };
        let mut outgoing = self.outgoing();
        if let Some((_, evicted)) = outgoing.statements.push(sql, prepared) {
            outgoing.forgotten.push(evicted.name);
        }
    }

    /// Waits for more. Whoever waits also writes what others had to leave, so that no message
    /// stands half written while everybody waits for an answer.
    async fn read(&self, incoming: &mut Incoming) -> DatabaseResult<()> {
        incoming.bytes.reserve(READ_BYTES);
        loop {
            match self.socket.try_read(&mut incoming.bytes) {
                Ok(0) => return Err(self.ended("the connection was closed")),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(self.ended(error)),
            }
            let interest = {
                let mut outgoing = self.outgoing();
                self.flush(&mut outgoing)?;
                if outgoing.bytes.is_empty() { Interest::READABLE } else { Interest::READABLE | Interest::WRITABLE }
            };
            self.socket.ready(interest).await.map_err(|error| self.ended(error))?;
        }
    }

    /// Sends as much as the socket takes.
    fn flush(&self, outgoing: &mut Outgoing) -> DatabaseResult<()> {
        while !outgoing.bytes.is_empty() {
            match self.socket.try_write(&outgoing.bytes) {
                Ok(0) => return Err(self.ended("the connection was closed")),
                Ok(count) => outgoing.bytes.advance(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(self.ended(error)),
            }
        }
        Ok(())
    }

    /// Every request that is under way fails, and there will be no other.
    pub(crate) fn give_up(&self) {
        self.broken.store(true, Ordering::Release);
    }

    fn ended(&self, error: impl std::fmt::Display) -> DatabaseError {
        self.give_up();
        broken(error)
    }
}

/// A message that is written and not sent. Sent when dropped: if its request is, while it waits for
/// others, the next one on the connection would send it, and a write would be done at any later time.
struct Unsent<'a>(&'a Wire);

impl Drop for Unsent<'_> {
    fn drop(&mut self) {
        // Whoever waits for an answer hears that the connection is broken.
        let _ = self.0.flush(&mut self.0.outgoing());
    }
}

impl Outgoing {
    fn close_forgotten(&mut self) -> DatabaseResult<()> {
        for name in self.forgotten.drain(..) {
            frontend::close(b'S', &name, &mut self.bytes).map_err(driver)?;
        }
        Ok(())
    }

    fn write(&mut self, statements: &[Statement<'_>], answer: &mut Answer) -> DatabaseResult<()> {
        for Statement { sql, params } in statements {
            let types = params.iter().map(oid_of);
            let known = self.statements.get(*sql).filter(|prepared| prepared.types.iter().copied().eq(types.clone()));
            if let Some(prepared) = known {
                answer.expect_known(prepared.columns.clone());
                bind(&prepared.name, params, &mut self.bytes)?;
            } else {
                self.named += 1;
                let name: Box<str> = format!("s{}", self.named).into();
                frontend::parse(&name, sql, types.clone(), &mut self.bytes).map_err(driver)?;
                frontend::describe(b'S', &name, &mut self.bytes).map_err(driver)?;
                bind(&name, params, &mut self.bytes)?;
                answer.expect_fresh(sql, Prepared { name, types: types.collect(), columns: Arc::new([]) });
            }
            frontend::execute("", 0, &mut self.bytes).map_err(driver)?;
        }
        frontend::sync(&mut self.bytes);
        Ok(())
    }
}

impl Incoming {
    /// Takes a row that has arrived whole, without making a message of it (measured: a tenth of a
    /// list's time). False if something else comes next.
    fn take_row(&mut self) -> bool {
        let Some(answer) = &mut self.current else { return false };
        // A tag; the length, which counts itself; the number of values; the values.
        let Some((&[b'D', ref length @ ..], rest)) = self.bytes.split_first_chunk::<5>() else { return false };
        let Some(length) = usize::try_from(u32::from_be_bytes(*length)).ok().and_then(|length| length.checked_sub(4))
        else {
            return false;
        };
        let Some(values) = rest.get(..length).and_then(|body| body.get(2..)) else { return false };
        answer.row(values, self.bytes.len());
        self.bytes.advance(5 + length);
        true
    }
}

fn driver(error: io::Error) -> DatabaseError {
    DatabaseError::Driver(error.to_string())
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
