//! The stream that STARTTLS is asked for on. lettre (0.11.23) keeps what it has read ahead when the
//! encryption begins, so that replies which somebody on the way added before would count behind it:
//! a mail that the server refused would count as sent. Here nothing can be read ahead.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A connection that gives a byte at a time until it is told that it is secured. A reader of lines
/// then has nothing behind its line, and what somebody added meets the TLS handshake, which fails.
#[derive(Debug)]
pub(crate) struct ByteByByte {
    stream: TcpStream,
    secured: Arc<AtomicBool>,
}

impl ByteByByte {
    /// The stream, and what tells it that it is secured.
    pub(crate) fn new(stream: TcpStream) -> (Self, Arc<AtomicBool>) {
        let secured = Arc::new(AtomicBool::new(false));
        (Self { stream, secured: secured.clone() }, secured)
    }
}

impl AsyncTokioStream for ByteByByte {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }
}

impl AsyncRead for ByteByByte {
    fn poll_read(mut self: Pin<&mut Self>, ctx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.secured.load(Ordering::Relaxed) || buffer.remaining() <= 1 {
            return Pin::new(&mut self.stream).poll_read(ctx, buffer);
        }
        let mut byte = [0; 1];
        let mut one = ReadBuf::new(&mut byte);
        ready!(Pin::new(&mut self.stream).poll_read(ctx, &mut one))?;
        buffer.put_slice(one.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ByteByByte {
    fn poll_write(mut self: Pin<&mut Self>, ctx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(ctx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(ctx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(ctx)
    }
}
