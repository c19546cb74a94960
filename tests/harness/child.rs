//! A server as a process of its own.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{self, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::{Clients, PATIENCE};

/// Between two looks at a process that is to end.
const LOOKS_AGAIN: Duration = Duration::from_millis(5);

/// How to start one.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The program: `env!("CARGO_BIN_EXE_onefold-test-server")`.
    pub program: PathBuf,
    /// The data directory.
    pub data: PathBuf,
    /// Bytes of one journal segment.
    pub segment_bytes: u32,
    /// Journal entries between two checkpoints.
    pub checkpoint_every: u64,
    /// More for its environment.
    pub environment: Vec<(OsString, OsString)>,
}

impl Launch {
    /// A server of this program on this directory. `ONEFOLD_TEST_SERVER` names another one, for long runs beside builds.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>, data: &Path) -> Self {
        Self {
            program: std::env::var_os("ONEFOLD_TEST_SERVER").map_or_else(|| program.into(), PathBuf::from),
            data: data.to_owned(),
            segment_bytes: crate::SEGMENT_BYTES,
            checkpoint_every: 1_000_000,
            environment: Vec::new(),
        }
    }

    /// Starts the process and does not wait for it.
    ///
    /// # Panics
    /// When there is no such program.
    #[must_use]
    pub fn spawn(&self) -> Child {
        let mut process = Command::new(&self.program)
            .env("ONEFOLD_TEST_DATA", &self.data)
            .env("ONEFOLD_TEST_SEGMENT_BYTES", self.segment_bytes.to_string())
            .env("ONEFOLD_TEST_CHECKPOINT_EVERY", self.checkpoint_every.to_string())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server program starts");
        let out = process.stdout.take().expect("its output is piped");
        let mut errors = process.stderr.take().expect("its errors are piped");
        let (found, address) = oneshot::channel();
        thread::spawn(move || {
            let line = BufReader::new(out).lines().map_while(Result::ok).next();
            let address = line.and_then(|line| line.strip_prefix("address ")?.parse().ok());
            // Nobody waits any more when the test has ended.
            let _ = found.send(address);
        });
        let said = thread::spawn(move || {
            let mut said = String::new();
            let _ = errors.read_to_string(&mut said);
            said
        });
        Child { process, announced: Some(address), address: None, said: Some(said) }
    }

    /// Starts a server and connects to it.
    ///
    /// # Panics
    /// When it does not start; with what it said.
    pub async fn start(&self) -> (Child, Clients) {
        let mut child = self.spawn();
        match child.connect().await {
            Some(clients) => (child, clients),
            None => panic!("the server does not start: {}", child.end().1),
        }
    }
}

/// A server process. Killed when dropped.
#[derive(Debug)]
pub struct Child {
    process: process::Child,
    announced: Option<oneshot::Receiver<Option<SocketAddr>>>,
    address: Option<SocketAddr>,
    said: Option<thread::JoinHandle<String>>,
}

impl Child {
    /// Waits until it serves and connects; `None` when it ended before.
    ///
    /// # Panics
    /// When it does neither within [`PATIENCE`].
    pub async fn connect(&mut self) -> Option<Clients> {
        let announced = tokio::time::timeout(PATIENCE, self.announced.take()?).await;
        self.address = announced.expect("the server serves or ends").ok()?;
        Clients::connect(self.address?).await.ok()
    }

    /// Where it listens.
    ///
    /// # Panics
    /// Before [`Child::connect`].
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address.expect("it was connected to")
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Whether it has ended by itself.
    ///
    /// # Panics
    /// When it cannot be asked.
    pub fn has_ended(&mut self) -> bool {
        self.process.try_wait().expect("a child can be asked").is_some()
    }

    /// Kills it (SIGKILL), and waits until it is gone.
    ///
    /// # Panics
    /// When it cannot be waited for.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        self.process.wait().expect("a child can be waited for");
    }

    /// Tells it to end in order; [`Child::end`] waits.
    pub fn terminate(&mut self) {
        drop(self.process.stdin.take());
    }

    /// Tells it to end in order, and waits.
    ///
    /// # Panics
    /// When it ends otherwise; with what it said.
    pub fn stop(mut self) {
        self.terminate();
        let (status, said) = self.end();
        assert!(status.success(), "the server ended with {status}: {said}");
    }

    /// Waits until it has ended; how, and what it said.
    ///
    /// # Panics
    /// When it cannot be waited for, or does not end within [`PATIENCE`].
    pub fn end(&mut self) -> (ExitStatus, String) {
        let looks = PATIENCE.as_millis() / LOOKS_AGAIN.as_millis();
        let ended = (0..looks).find_map(|_| {
            let status = self.process.try_wait().expect("a child can be waited for");
            if status.is_none() {
                thread::sleep(LOOKS_AGAIN);
            }
            status
        });
        let status = ended.expect("the server ends in time");
        (status, self.said.take().and_then(|said| said.join().ok()).unwrap_or_default())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A copy of a data directory, with nothing in these folders.
///
/// # Panics
/// When a file cannot be copied.
pub fn copy_of(from: &Path, to: &Path, without: &[&str]) {
    fs::create_dir_all(to).expect("a file can be copied");
    for entry in fs::read_dir(from).expect("a file can be copied") {
        let entry = entry.expect("a file can be copied");
        let target = to.join(entry.file_name());
        if !entry.file_type().expect("a file can be copied").is_dir() {
            fs::copy(entry.path(), &target).expect("a file can be copied");
        } else if without.iter().any(|name| entry.file_name() == *name) {
            fs::create_dir_all(target).expect("a file can be copied");
        } else {
            copy_of(&entry.path(), &target, without);
        }
        // Keys must stay their owner's alone.
        fs::set_permissions(to.join(entry.file_name()), entry.metadata().expect("a file can be copied").permissions())
            .expect("a file can be copied");
    }
    fs::set_permissions(to, fs::metadata(from).expect("a file can be copied").permissions())
        .expect("a file can be copied");
}
