//! The threads behind the edge: how they begin and in which order they end.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread::{self, JoinHandle};

use tokio::sync::mpsc;

use super::Shared;
use super::lane::Command;

/// The threads behind the edge.
#[derive(Debug, Default)]
pub struct Threads {
    pub(super) handles: Vec<JoinHandle<()>>,
    pub(super) lane: Option<mpsc::Sender<Command>>,
    /// Ends, once it is dropped, the thread that writes the logs of reads.
    pub(super) reads: Option<(SyncSender<()>, JoinHandle<()>)>,
    /// Ends, once it is dropped, the thread that follows with the ledger of stops.
    pub(super) stops: Option<(SyncSender<()>, JoinHandle<()>)>,
}

impl Threads {
    /// Stops the lane behind what it was given, and waits for all.
    pub fn join(mut self) {
        // Before the lane: what it wrote last is written down there.
        if let Some((stop, handle)) = self.reads.take() {
            drop(stop);
            wait_for(handle);
        }
        if let Some(lane) = self.lane.take() {
            let _ = lane.blocking_send(Command::Stop);
        }
        self.handles.into_iter().for_each(wait_for);
        // The last one: it looks once more at what the others left.
        if let Some((stop, handle)) = self.stops.take() {
            drop(stop);
            wait_for(handle);
        }
    }
}

fn wait_for(handle: JoinHandle<()>) {
    if handle.join().is_err() {
        tracing::error!("a thread panicked");
    }
}

/// A thread that panics leaves the state half changed: nothing more may be acknowledged from it.
struct FailOnPanic(Arc<Shared>);

impl Drop for FailOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.fail();
        }
    }
}

/// Begins a thread that fails the store if it panics.
pub(super) fn spawn(shared: &Arc<Shared>, name: &str, run: Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle<()>> {
    let guard = FailOnPanic(Arc::clone(shared));
    let guarded = move || {
        let _guard = guard;
        run();
    };
    thread::Builder::new().name(name.to_owned()).spawn(guarded)
}
