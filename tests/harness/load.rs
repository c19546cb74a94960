//! Seeded traffic under way: streams and single calls until the server is gone.

use std::sync::{Arc, Mutex, MutexGuard};

use onefold_proto::v1 as pb;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use crate::Clients;
use crate::traffic::{Ledger, Message, Mill};

/// Messages that one stream has under way.
const IN_FLIGHT: usize = 48;

/// A mill at work: what it makes is noted before it is sent, and the answers beside it.
#[derive(Debug)]
pub struct Load {
    mill: Mutex<Mill>,
    ledger: Mutex<Ledger>,
    /// Messages that this round may still send.
    budget: Semaphore,
}

impl Load {
    /// A load that may send nothing yet.
    #[must_use]
    pub fn new(mill: Mill) -> Self {
        Self { mill: Mutex::new(mill), ledger: Mutex::default(), budget: Semaphore::new(0) }
    }

    /// What was sent and answered so far.
    ///
    /// # Panics
    /// When a sender has panicked.
    pub fn noted(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("no sender has panicked")
    }

    /// Gives it so many messages to send, whatever it had left.
    pub fn allow(&self, messages: usize) {
        self.budget.forget_permits(usize::MAX >> 4);
        self.budget.add_permits(messages);
    }

    fn next(&self) -> (usize, Message) {
        let message = self.mill.lock().expect("no sender has panicked").message();
        (self.noted().note(message.clone()), message)
    }

    fn answered(&self, number: u64, result: pb::IngestResult) {
        self.noted().answers[number as usize] = Some(result);
    }

    /// Sends until the server is gone.
    pub async fn stream(self: Arc<Self>, mut clients: Clients) {
        let (out, requests) = mpsc::channel(IN_FLIGHT);
        let window = Arc::new(Semaphore::new(IN_FLIGHT));
        let (load, room) = (Arc::clone(&self), Arc::clone(&window));
        let sender = tokio::spawn(async move {
            while let (Ok(permit), Ok(slot)) = (load.budget.acquire().await, room.acquire().await) {
                let (number, message) = load.next();
                if out.send(message.request("", number as u64)).await.is_err() {
                    return;
                }
                permit.forget();
                slot.forget();
            }
        });
        if let Ok(answers) = clients.ingest.stream_fragments(ReceiverStream::new(requests)).await {
            let mut answers = answers.into_inner();
            while let Some(Ok(answer)) = answers.next().await {
                self.answered(answer.client_sequence, answer.result.expect("a result"));
                window.add_permits(1);
            }
        }
        sender.abort();
    }

    /// Single calls beside the streams.
    pub async fn calls(self: Arc<Self>, mut clients: Clients) {
        while let Ok(permit) = self.budget.acquire().await {
            permit.forget();
            let (number, message) = self.next();
            let Message::Put(fragment) = message else { continue };
            match clients.try_put(fragment).await {
                Ok(result) => self.answered(number as u64, result),
                Err(_) => return,
            }
        }
    }
}
