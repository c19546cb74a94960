//! Connections, bounded in number, together and of one address: one over a bound is closed as it comes, so that those who
//! are in stay served. Each is encrypted, where that is asked for, within a time; and one on which nobody is let in within
//! a time, or on which no call is under way for long, is closed too: it takes a place and says nothing.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::Stream;
use tonic::transport::server::Connected;

use super::tls::Certificates;
use crate::config::TLS_HANDSHAKE_WAIT_MAX;
use crate::metrics::Meters;

/// After the listener failed, e.g. for want of descriptors, it is asked again so much later.
const ACCEPTS_AGAIN_AFTER: Duration = Duration::from_millis(100);
/// A client that was told that its connection is too old gets so long to leave, once nothing is under way on it.
const LEAVES_WITHIN: Duration = Duration::from_secs(5 * 60);

/// How long connections may wait for what, and how many may come from one address.
#[derive(Clone, Debug)]
pub struct Terms {
    /// For the first call of somebody who is let in.
    pub first_call_wait: Duration,
    /// For the next call, once none is under way.
    pub idle_wait: Duration,
    /// How old one may grow before its client is told to open another.
    pub age: Duration,
    /// Connections at once.
    pub most: usize,
    /// Connections of one address; of an IPv6 address its network of 64 bits counts.
    pub of_one_address: usize,
    /// Encrypts; none: everything travels in the clear.
    pub certificates: Option<Arc<Certificates>>,
    /// Counts them.
    pub meters: Arc<Meters>,
}

/// What is known of a connection; every request carries it.
#[derive(Clone, Debug)]
pub struct Line(Arc<State>);

#[derive(Debug)]
struct State {
    opened: Instant,
    has_called: AtomicBool,
    under_way: AtomicUsize,
    /// When a call last ended, milliseconds since it was opened.
    quiet_since: AtomicU64,
}

/// A call that is under way on a connection.
#[derive(Debug)]
pub struct Busy(Arc<State>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.quiet_since.store(self.0.age(), Ordering::Relaxed);
        self.0.under_way.fetch_sub(1, Ordering::Release);
    }
}

impl State {
    fn age(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Line {
    fn open() -> Self {
        Self(Arc::new(State {
            opened: Instant::now(),
            has_called: AtomicBool::new(false),
            under_way: AtomicUsize::new(0),
            quiet_since: AtomicU64::new(0),
        }))
    }

    /// Somebody was let in, whose call is under way as long as the answer lives.
    pub fn calls(&self) -> Busy {
        self.0.under_way.fetch_add(1, Ordering::Relaxed);
        self.0.has_called.store(true, Ordering::Relaxed);
        Busy(Arc::clone(&self.0))
    }

    /// When it must be looked at again; `None`: it is to be closed now.
    fn stays_until(&self, now: Instant, terms: &Terms) -> Option<Instant> {
        let State { opened, .. } = *self.0;
        if self.0.under_way.load(Ordering::Acquire) > 0 {
            return Some(now + terms.idle_wait.min(LEAVES_WITHIN));
        }
        let until = if self.0.has_called.load(Ordering::Relaxed) {
            let quiet_since = opened + Duration::from_millis(self.0.quiet_since.load(Ordering::Relaxed));
            (quiet_since + terms.idle_wait).min(opened + terms.age + LEAVES_WITHIN)
        } else {
            opened + terms.first_call_wait
        };
        (until > now).then_some(until)
    }
}

/// The bytes of a connection.
#[derive(Debug)]
enum Wire {
    Clear(TcpStream),
    Encrypted(Box<TlsStream<TcpStream>>),
}

/// The places that a connection takes.
#[derive(Debug)]
struct Place {
    _of_all: OwnedSemaphorePermit,
    _of_address: AddressPlace,
    meters: Arc<Meters>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.meters.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection that counts as long as it is open.
#[derive(Debug)]
pub struct Counted {
    wire: Wire,
    line: Line,
    terms: Terms,
    looked_at: Pin<Box<Sleep>>,
    _place: Place,
}

impl Counted {
    fn new(wire: Wire, terms: Terms, place: Place) -> Self {
        let line = Line::open();
        let looked_at = Box::pin(sleep(terms.first_call_wait));
        Self { wire, line, terms, looked_at, _place: place }
    }

    /// Whether it takes a place for nothing.
    fn is_for_nothing(&mut self, context: &mut Context<'_>) -> bool {
        while self.looked_at.as_mut().poll(context).is_ready() {
            match self.line.stays_until(Instant::now(), &self.terms) {
                Some(at) => self.looked_at.as_mut().reset(at),
                None => return true,
            }
        }
        false
    }
}

/// How many connections each address has.
#[derive(Clone, Debug, Default)]
struct Addresses(Arc<Mutex<HashMap<IpAddr, usize>>>);

#[derive(Debug)]
struct AddressPlace {
    all: Addresses,
    of: IpAddr,
}

impl Addresses {
    fn take(&self, from: IpAddr, most: usize) -> Option<AddressPlace> {
        let of = network(from);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let has = all.entry(of).or_default();
        if *has >= most {
            return None;
        }
        *has += 1;
        Some(AddressPlace { all: self.clone(), of })
    }
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        let mut all = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(has) = all.get_mut(&self.of) {
            *has -= 1;
            if *has == 0 {
                all.remove(&self.of);
            }
        }
    }
}

/// What counts as one address: whoever has an IPv6 address has the 2^64 of its network.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

/// Connections of a listener.
#[derive(Debug)]
pub struct Incoming {
    listener: TcpListener,
    terms: Terms,
    places: Arc<Semaphore>,
    addresses: Addresses,
    handshakes: JoinSet<Option<Counted>>,
    pause: Option<Pin<Box<Sleep>>>,
}

/// Connections of a listener, as many at once as there may be.
pub fn bounded(listener: TcpListener, terms: Terms) -> Incoming {
    let places = Arc::new(Semaphore::new(terms.most));
    let (addresses, handshakes) = (Addresses::default(), JoinSet::new());
    Incoming { listener, terms, places, addresses, handshakes, pause: None }
}

impl Incoming {
    fn place(&self, from: IpAddr) -> Option<Place> {
        let meters = Arc::clone(&self.terms.meters);
        let Ok(of_all) = Arc::clone(&self.places).try_acquire_owned() else {
            meters.connections_refused.count();
            tracing::warn!(most = self.terms.most, "a connection over the bound was closed");
            return None;
        };
        let Some(of_address) = self.addresses.take(from, self.terms.of_one_address) else {
            meters.connections_refused.count();
            tracing::warn!(most = self.terms.of_one_address, "a connection over the bound of one address was closed");
            return None;
        };
        meters.connections.fetch_add(1, Ordering::Relaxed);
        Some(Place { _of_all: of_all, _of_address: of_address, meters })
    }

    /// What comes of a connection: itself, or, where it has to be encrypted first, nothing yet.
    fn take(&mut self, stream: TcpStream, from: IpAddr) -> Option<Counted> {
        let place = self.place(from)?;
        // An answer's last frame would wait for 40 ms.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(error = %error, "a connection has no TCP_NODELAY");
        }
        let terms = self.terms.clone();
        let Some(certificates) = &terms.certificates else {
            return Some(Counted::new(Wire::Clear(stream), terms, place));
        };
        let shaking = TlsAcceptor::from(certificates.current()).accept(stream);
        self.handshakes.spawn(async move {
            match tokio::time::timeout(TLS_HANDSHAKE_WAIT_MAX, shaking).await {
                Ok(Ok(stream)) => Some(Counted::new(Wire::Encrypted(Box::new(stream)), terms, place)),
                Ok(Err(error)) => {
                    tracing::debug!(error = %error, "a client did not agree on encryption");
                    None
                }
                Err(_) => {
                    tracing::debug!("a client took too long to agree on encryption");
                    None
                }
            }
        });
        None
    }
}

impl Stream for Incoming {
    type Item = io::Result<Counted>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while let Poll::Ready(Some(shaken)) = self.handshakes.poll_join_next(context) {
            if let Ok(Some(counted)) = shaken {
                return Poll::Ready(Some(Ok(counted)));
            }
        }
        loop {
            if let Some(pause) = &mut self.pause {
                if pause.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                self.pause = None;
            }
            match self.listener.poll_accept(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok((stream, from))) => {
                    if let Some(counted) = self.take(stream, from.ip()) {
                        return Poll::Ready(Some(Ok(counted)));
                    }
                    // A handshake that was begun just now wakes this task when it ends.
                    if let Poll::Ready(Some(Ok(Some(counted)))) = self.handshakes.poll_join_next(context) {
                        return Poll::Ready(Some(Ok(counted)));
                    }
                }
                Poll::Ready(Err(error)) => {
                    // Of one connection that went before it came, or of a want of descriptors: neither ends the server, and
                    // asking again at once would only burn the processor.
                    tracing::warn!(error = %error, "a connection could not be taken");
                    self.pause = Some(Box::pin(sleep_until(Instant::now() + ACCEPTS_AGAIN_AFTER)));
                }
            }
        }
    }
}

impl Connected for Counted {
    type ConnectInfo = Line;

    fn connect_info(&self) -> Line {
        self.line.clone()
    }
}

/// Does the same to either kind of wire.
macro_rules! on_wire {
    ($self:expr, $wire:ident => $does:expr) => {
        match &mut $self.wire {
            Wire::Clear($wire) => {
                let $wire = Pin::new($wire);
                $does
            }
            Wire::Encrypted($wire) => {
                let $wire = Pin::new($wire.as_mut());
                $does
            }
        }
    };
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.is_for_nothing(context) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        on_wire!(self, wire => wire.poll_read(context, into))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        on_wire!(self, wire => wire.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on_wire!(self, wire => wire.poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.wire {
            Wire::Clear(wire) => wire.is_write_vectored(),
            Wire::Encrypted(wire) => wire.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_wire!(self, wire => wire.poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_wire!(self, wire => wire.poll_shutdown(context))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio_stream::StreamExt;

    use super::*;

    fn terms(most: usize, of_one_address: usize) -> Terms {
        let meters = Arc::new(Meters::new(crate::grpc::calls()));
        let (far, age) = (Duration::from_secs(3_600), Duration::from_secs(1_800));
        Terms { first_call_wait: far, idle_wait: far, age, most, of_one_address, certificates: None, meters }
    }

    #[tokio::test]
    async fn a_connection_over_the_bound_is_closed_and_a_place_is_given_back() {
        for (most, of_one_address) in [(1, 9), (9, 1)] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let mut connections = bounded(listener, terms(most, of_one_address));
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
            let (held, connections) = waiting.await.unwrap();
            drop(held);
            assert!(connections.addresses.0.lock().unwrap().is_empty(), "nothing is kept of those who left");
            let counts = &connections.terms.meters;
            assert_eq!((counts.connections.load(Ordering::Relaxed), counts.connections_refused.get()), (0, 1));
        }
    }

    #[test]
    fn one_address_is_one_house() {
        let network = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(network("192.0.2.7"), "192.0.2.7");
        assert_eq!(network("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }

    #[test]
    fn a_line_stays_while_somebody_who_was_let_in_calls_now_and_then() {
        let terms =
            Terms { first_call_wait: Duration::from_secs(30), idle_wait: Duration::from_secs(900), ..terms(1, 1) };
        let stays = |line: &Line, seconds| line.stays_until(line.0.opened + Duration::from_secs(seconds), &terms);
        let mute = Line::open();
        assert_eq!(stays(&mute, 29), Some(mute.0.opened + Duration::from_secs(30)));
        assert_eq!(stays(&mute, 30), None, "nobody was let in");
        let line = Line::open();
        let busy = line.calls();
        assert!(stays(&line, 7_200).is_some(), "a call is under way, however old the line is");
        drop(busy);
        assert!(stays(&line, 890).is_some());
        assert_eq!(stays(&line, 901), None, "idle");
        line.0.quiet_since.store(2_099_000, Ordering::Relaxed);
        assert!(stays(&line, 2_099).is_some());
        assert_eq!(stays(&line, 2_100), None, "it was told to leave five minutes ago");
    }
}
