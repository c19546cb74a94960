//! Calls in an open loop: they come when they come (Poisson), however long those before take, and a latency runs from the
//! moment at which a call was due. A server that stalls is charged with every call that it delays.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use prost::bytes::{Buf, BufMut, Bytes};
use tokio::sync::{Semaphore, mpsc};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use crate::load::{Failure, connect, now};

/// Calls under way on one connection; the server takes a hundred.
const OF_A_CONNECTION: usize = 96;
/// The longest latency told apart, in microseconds.
const LATENCY_MAX: u64 = 600_000_000;

/// Messages as bytes, so that the callers cost as little as they can.
#[derive(Clone, Copy, Debug, Default)]
pub struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = usize;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = usize;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<usize>, Status> {
        let length = from.remaining();
        from.advance(length);
        Ok(Some(length))
    }
}

/// One call, made ready.
#[derive(Clone, Debug)]
pub struct Ready {
    /// `/package.Service/Method`.
    pub path: &'static str,
    /// The request.
    pub message: Bytes,
}

impl Ready {
    /// Makes it.
    ///
    /// # Errors
    /// What the server says.
    pub async fn call(self, channel: Channel) -> Result<(), Status> {
        let mut grpc = tonic::client::Grpc::new(channel).max_decoding_message_size(16 << 20);
        grpc.ready().await.map_err(|fault| Status::unavailable(fault.to_string()))?;
        let path = http::uri::PathAndQuery::from_static(self.path);
        grpc.unary(Request::new(self.message), path, Raw).await.map(drop)
    }
}

/// Connections that callers share.
#[derive(Clone)]
pub struct Lines(Arc<Vec<(Channel, Arc<Semaphore>)>>);

impl Lines {
    /// So many connections.
    ///
    /// # Errors
    /// When nobody listens.
    pub async fn open(address: SocketAddr, connections: usize) -> Result<Self, Failure> {
        let mut lines = Vec::with_capacity(connections);
        for _ in 0..connections {
            lines.push((connect(address).await?, Arc::new(Semaphore::new(OF_A_CONNECTION))));
        }
        Ok(Self(Arc::new(lines)))
    }
}

/// What came of calls.
#[derive(Clone)]
pub struct Run {
    /// Asked for, a second.
    pub rate: f64,
    /// How long calls were due.
    pub took: Duration,
    /// From due to done, of calls that were done, in microseconds.
    pub done: Histogram<u64>,
    /// How many were done while calls were due; the others came behind.
    pub in_time: u64,
    /// From sent to told, of calls that were shed, in microseconds.
    pub shed: Histogram<u64>,
    /// Calls by what they ended with.
    pub ends: BTreeMap<String, u64>,
    /// Calls for which no connection had room: they were not made.
    pub unsent: u64,
}

impl Run {
    fn empty(rate: f64, took: Duration) -> Result<Self, Failure> {
        let histogram = || Histogram::new_with_max(LATENCY_MAX, 3);
        Ok(Self { rate, took, done: histogram()?, in_time: 0, shed: histogram()?, ends: BTreeMap::new(), unsent: 0 })
    }

    /// Calls done a second, while calls were due.
    #[must_use]
    pub fn goodput(&self) -> f64 {
        self.in_time as f64 / self.took.as_secs_f64()
    }

    /// Milliseconds that 99 of 100 calls that were done do not exceed.
    #[must_use]
    pub fn p99(&self) -> f64 {
        self.done.value_at_quantile(0.99) as f64 / 1e3
    }

    /// Milliseconds that 99 of 100 calls that were shed do not exceed.
    #[must_use]
    pub fn shed_p99(&self) -> f64 {
        self.shed.value_at_quantile(0.99) as f64 / 1e3
    }

    /// Calls sent a second.
    #[must_use]
    pub fn offered(&self) -> f64 {
        self.ends.values().sum::<u64>() as f64 / self.took.as_secs_f64()
    }
}

/// A call that ended: when it was due and sent, when it was over, since the start, and with what.
type Ended = (Duration, Duration, Duration, Result<(), Status>);

/// A source of chances; xorshift is enough to spread arrivals.
struct Chance(u64);

impl Chance {
    /// Between 0 and 1, never 0.
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) as f64 + 1.0) / (1_u64 << 53) as f64
    }
}

/// Makes calls at a mean rate for so long; none waits for another. A call without room on its connection is not made.
///
/// # Errors
/// When the run itself breaks.
pub async fn calls<F, Made>(rate: f64, lasts: Duration, lines: &Lines, make: F) -> Result<Run, Failure>
where
    F: Fn(u64, Channel) -> Made + Send + 'static,
    Made: Future<Output = Result<(), Status>> + Send + 'static,
{
    let (results_in, mut results) = mpsc::unbounded_channel::<Ended>();
    let unsent = Arc::new(AtomicUsize::new(0));
    let (start, runtime, lines, over) = (now(), tokio::runtime::Handle::current(), lines.clone(), Arc::clone(&unsent));
    // A thread of its own: the timers of the runtime are no finer than a millisecond.
    let pacer = std::thread::spawn(move || {
        let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
        let mut due = Duration::ZERO;
        for number in 0_u64.. {
            due += Duration::from_secs_f64(-chance.next().ln() / rate);
            if due >= lasts {
                break;
            }
            if let Some(wait) = due.checked_sub(start.elapsed()).filter(|wait| *wait > Duration::from_micros(60)) {
                std::thread::sleep(wait);
            }
            let (channel, room) = &lines.0[number as usize % lines.0.len()];
            let Ok(permit) = Arc::clone(room).try_acquire_owned() else {
                over.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            let made = make(number, channel.clone());
            let results = results_in.clone();
            let sent = start.elapsed();
            runtime.spawn(async move {
                let end = made.await;
                drop(permit);
                // Who counts has gone when the run failed.
                let _ = results.send((due, sent, start.elapsed(), end));
            });
        }
    });
    let mut run = Run::empty(rate, lasts)?;
    while let Some((due, sent, over, end)) = results.recv().await {
        let micros = |since: Duration| (over.saturating_sub(since).as_micros() as u64).clamp(1, LATENCY_MAX);
        let named = match end {
            Ok(()) => {
                run.done.record(micros(due))?;
                run.in_time += u64::from(over <= lasts);
                "done".to_owned()
            }
            Err(status) => {
                if matches!(status.code(), Code::ResourceExhausted | Code::Unavailable) {
                    run.shed.record(micros(sent))?;
                }
                format!("{:?}", status.code())
            }
        };
        *run.ends.entry(named).or_default() += 1;
    }
    pacer.join().map_err(|_| "the pacer broke")?;
    run.unsent = unsent.load(Ordering::Relaxed) as u64;
    Ok(run)
}

/// Makes calls as fast as so many callers get answers: what a server can do at most. A caller who is told when to come again
/// does so then, with a quarter of jitter, as the command line does; latencies are of the calls that were answered.
///
/// # Errors
/// When the run itself breaks.
pub async fn closed<F, Made>(callers: usize, lasts: Duration, lines: &Lines, make: F) -> Result<Run, Failure>
where
    F: Fn(u64, Channel) -> Made + Clone + Send + Sync + 'static,
    Made: Future<Output = Result<(), Status>> + Send + 'static,
{
    let start = now();
    let mut tasks = Vec::with_capacity(callers);
    for caller in 0..callers {
        let (lines, make) = (lines.clone(), make.clone());
        tasks.push(tokio::spawn(async move {
            let mut run = Run::empty(0.0, lasts)?;
            let mut number = caller as u64;
            let mut chance = Chance(0x9e37_79b9_7f4a_7c15 ^ (number + 1));
            while start.elapsed() < lasts {
                let sent = now();
                let (channel, _) = &lines.0[caller % lines.0.len()];
                match make(number, channel.clone()).await {
                    Ok(()) => {
                        run.done.record((sent.elapsed().as_micros() as u64).clamp(1, LATENCY_MAX))?;
                        run.in_time += u64::from(start.elapsed() <= lasts);
                    }
                    Err(status) => {
                        run.shed.record((sent.elapsed().as_micros() as u64).clamp(1, LATENCY_MAX))?;
                        *run.ends.entry(format!("{:?}", status.code())).or_default() += 1;
                        if let Some(wait) = status.get_details_retry_info().and_then(|info| info.retry_delay) {
                            tokio::time::sleep(wait.mul_f64(1.0 + chance.next() / 4.0)).await;
                        }
                    }
                }
                number += callers as u64;
            }
            Ok::<_, Failure>(run)
        }));
    }
    let mut all = Run::empty(0.0, lasts)?;
    for task in tasks {
        let one = task.await??;
        all.done.add(one.done)?;
        all.shed.add(one.shed)?;
        all.in_time += one.in_time;
        for (end, count) in one.ends {
            *all.ends.entry(end).or_default() += count;
        }
    }
    Ok(all)
}
