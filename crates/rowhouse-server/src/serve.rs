//! Listening, and ending without losing a request.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::refusal::WordedListener;

/// How long requests under way may take after the signal to stop.
const DRAIN: Duration = Duration::from_secs(30);

/// Serves until `stop` is cancelled; requests under way are answered first.
///
/// # Errors
/// Only if the listener fails.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) -> std::io::Result<()> {
    let signal = stop.clone();
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let listener = WordedListener(listener).tap_io(|_| {});
    let server = axum::serve(listener, service).with_graceful_shutdown(async move { signal.cancelled().await });
    let overdue = async {
        stop.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        ended = server => ended,
        () = overdue => {
            tracing::warn!(drain_seconds = DRAIN.as_secs(), "some requests did not end in time and are cut off");
            Ok(())
        }
    }
}
