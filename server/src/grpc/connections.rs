//! Connections, bounded in number: one over the bound is closed as it comes, so that those who are in stay served. One
//! that makes no call is closed too: it takes a place and says nothing.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tokio_stream::{Stream, StreamExt};
use tonic::transport::server::{Connected, TcpIncoming};

/// A connection that counts as long as it is open.
#[derive(Debug)]
pub struct Counted {
    stream: TcpStream,
    caller: Caller,
    /// Until the first call was made: when it must be at the latest.
    first_call: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
}

/// Who calls over a connection; every request carries it.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    has_called: Arc<AtomicBool>,
}

impl Caller {
    /// A call was made.
    pub fn calls(&self) {
        self.has_called.store(true, Ordering::Relaxed);
    }
}

impl Counted {
    fn new(stream: TcpStream, place: OwnedSemaphorePermit, first_call_wait: Duration) -> Self {
        let first_call = Some(Box::pin(tokio::time::sleep(first_call_wait)));
        Self { stream, caller: Caller::default(), first_call, _place: place }
    }

    /// Whether the time for a first call is over and none was made.
    fn is_mute(&mut self, context: &mut Context<'_>) -> bool {
        let Some(wait) = &mut self.first_call else { return false };
        if self.caller.has_called.load(Ordering::Relaxed) {
            self.first_call = None;
            return false;
        }
        wait.as_mut().poll(context).is_ready()
    }
}

/// Connections of a listener, so many at once, each with so long for its first call.
pub fn bounded(
    listener: TcpListener,
    most: usize,
    first_call_wait: Duration,
) -> impl Stream<Item = io::Result<Counted>> {
    let places = Arc::new(Semaphore::new(most));
    // The builder's own setting does not reach a listener that is given: an answer's last frame would wait for 40 ms.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    incoming.filter_map(move |stream| match stream {
        Ok(stream) => match Arc::clone(&places).try_acquire_owned() {
            Ok(place) => Some(Ok(Counted::new(stream, place, first_call_wait))),
            Err(_) => {
                tracing::warn!(most, "a connection over the bound was closed");
                None
            }
        },
        Err(error) => Some(Err(error)),
    })
}

impl Connected for Counted {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.is_mute(context) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn a_connection_over_the_bound_is_closed_and_a_place_is_given_back() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut connections = Box::pin(bounded(listener, 1, Duration::MAX));
        let _first = TcpStream::connect(address).await.unwrap();
        let held = connections.next().await.unwrap().unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        // Whoever waits for the next connection meets the second and closes it.
        let waiting = tokio::spawn(async move {
            let next = connections.next().await;
            (next.unwrap().unwrap(), connections)
        });
        assert_eq!(second.read(&mut [0; 1]).await.unwrap(), 0, "closed");
        drop(held);
        let _third = TcpStream::connect(address).await.unwrap();
        let (held, _) = waiting.await.unwrap();
        drop(held);
    }
}
