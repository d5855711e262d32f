//! The refusals that the HTTP library writes itself, when a request cannot be read at all: a URL or
//! headers that are too long, or what is no HTTP. It knows a status only, so the body, the request
//! id and the log line that every other answer has are added here, on the way out.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::serve::Listener;
use rowhouse_types::ErrorCode;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use crate::trace::new_request_id;

/// A listener whose connections tell such refusals in words.
pub(crate) struct WordedListener(pub(crate) TcpListener);

impl Listener for WordedListener {
    type Io = WordedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        (WordedStream { stream, waiting: Vec::new() }, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

/// A connection. Everything passes as it is, except an answer that is only a head.
pub(crate) struct WordedStream {
    stream: TcpStream,
    /// What of a refusal could not be written yet.
    waiting: Vec<u8>,
}

/// The refusal in words, if this is one of the library's own. Ours carry their request's id.
fn worded(written: &[u8]) -> Option<Vec<u8>> {
    let rest = written.strip_prefix(b"HTTP/1.1 ").or_else(|| written.strip_prefix(b"HTTP/1.0 "))?;
    let (code, message) = match rest.get(..3)? {
        b"400" => (ErrorCode::InvalidRequest, "This is no HTTP request that can be read."),
        b"414" => (ErrorCode::UriTooLong, "The URL is longer than 65,534 bytes. Ask for less, or in several requests."),
        b"431" => (
            ErrorCode::HeadersTooLarge,
            "The URL and the headers are together longer than 400 kB, or there are more than 100 headers.",
        ),
        _ => return None,
    };
    let head = std::str::from_utf8(written.strip_suffix(b"\r\n\r\n")?).ok()?;
    if head.contains("\r\n\r\n") || head.contains("\r\nx-request-id:") {
        return None;
    }
    let request_id = new_request_id();
    tracing::info!(%request_id, status = code.status(), %code, "request refused before it could be read");
    let body = json!({
        "success": false,
        "error": { "code": code, "message": message, "details": [], "request_id": request_id },
    })
    .to_string();
    let kept = head.split("\r\n").filter(|line| !line.to_ascii_lowercase().starts_with("content-length:"));
    let mut answer: String = kept.flat_map(|line| [line, "\r\n"]).collect();
    let length = body.len();
    answer += &format!(
        "content-type: application/json\r\ncontent-length: {length}\r\nx-request-id: {request_id}\r\n\
         cache-control: private, no-store\r\nx-content-type-options: nosniff\r\nx-frame-options: DENY\r\n\
         referrer-policy: no-referrer\r\ncontent-security-policy: default-src 'none'; frame-ancestors 'none'\r\n\r\n{body}"
    );
    Some(answer.into_bytes())
}

impl WordedStream {
    fn poll_waiting(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.waiting.is_empty() {
            let count = ready!(Pin::new(&mut self.stream).poll_write(context, &self.waiting))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.waiting.drain(..count);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for WordedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for WordedStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_waiting(context))?;
        match worded(bytes) {
            Some(answer) => {
                self.waiting = answer;
                // What does not fit now goes out at the flush that follows.
                match self.poll_waiting(context) {
                    Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                    Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(bytes.len())),
                }
            }
            None => Pin::new(&mut self.stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // A refusal without a body is one slice.
        if let [slice] = slices {
            return self.poll_write(context, slice);
        }
        ready!(self.poll_waiting(context))?;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_waiting(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_waiting(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_librarys_own_refusals_get_words() {
        let bare = b"HTTP/1.1 414 URI Too Long\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        let told = String::from_utf8(worded(bare).unwrap()).unwrap();
        assert!(told.starts_with("HTTP/1.1 414 URI Too Long\r\nconnection: close\r\n"), "{told}");
        assert!(told.contains("\"uri_too_long\"") && !told.contains("content-length: 0"), "{told}");
        for other in [
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\nx-request-id: req_1\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}",
            "HTTP/1.1 40",
            "400",
            "",
        ] {
            assert_eq!(worded(other.as_bytes()), None, "{other}");
        }
    }
}
