//! Streams of statements and of questions, in batches.

use std::pin::Pin;
use std::sync::Arc;

use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status, Streaming};

use crate::app::App;
use crate::grpc::{corrections, names, rights, silence, status};

/// Messages of one stream that are taken at once.
const STREAM_BATCH_MAX: usize = 256;
/// Bytes after which no more are.
const STREAM_BATCH_BYTES_MAX: usize = 1 << 20;
/// Answers of one stream that may wait for a slow reader; then it is not read further.
const STREAM_DEPTH_MAX: usize = 256;

/// The answers of a stream.
pub(super) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Reads a stream in batches as large as what has arrived, does each as one, and answers in order. Takes no more while
/// answers wait for their reader.
pub(super) fn serve_in_batches<In, Out, Work>(
    app: &Arc<App>,
    mut inbound: Streaming<In>,
    parent_of: fn(&In) -> String,
    mut work: impl FnMut(String, Vec<In>) -> Work + Send + 'static,
) -> Response<Answers<Out>>
where
    In: Message + 'static,
    Out: Send + 'static,
    Work: Future<Output = Result<Vec<Out>, Status>> + Send,
{
    let (out, answers) = mpsc::channel(STREAM_DEPTH_MAX);
    let mut stop = app.stop.subscribe();
    let app = Arc::clone(app);
    tokio::spawn(rights::carried(async move {
        let mut parent = names::of_tenant(names::DEFAULT_TENANT);
        loop {
            let next = tokio::select! {
                next = silence::next(&app, batch(&mut inbound)) => {
                    next.unwrap_or_else(|silent| (Vec::new(), Some(silent)))
                }
                _ = stop.wait_for(|stop| *stop) => (Vec::new(), Some(status::stopping())),
            };
            let (messages, ended) = next;
            if messages.is_empty() && ended.is_none() {
                return;
            }
            // A batch is of one tenant: it is cut where the parent changes.
            let mut messages = messages.into_iter().peekable();
            while let Some(first) = messages.peek() {
                let named = parent_of(first);
                if !named.is_empty() {
                    parent = named;
                }
                let same = |message: &In| {
                    let of = parent_of(message);
                    of.is_empty() || of == parent
                };
                let mut run = Vec::new();
                while let Some(message) = messages.next_if(same) {
                    run.push(message);
                }
                match work(parent.clone(), run).await {
                    Ok(done) => {
                        for answer in done {
                            if out.send(Ok(answer)).await.is_err() {
                                return;
                            }
                        }
                    }
                    Err(status) => {
                        let _ = out.send(Err(status)).await;
                        return;
                    }
                }
            }
            if let Some(status) = ended {
                let _ = out.send(Err(status)).await;
                return;
            }
        }
    }));
    Response::new(Box::pin(ReceiverStream::new(answers)))
}

/// Waits for one message, then takes along what is there already; and the status that ended the stream, if one did.
async fn batch<In: Message>(inbound: &mut Streaming<In>) -> (Vec<In>, Option<Status>) {
    let mut messages = Vec::new();
    let mut bytes = 0;
    let mut ended = None;
    std::future::poll_fn(|context| {
        use std::task::Poll;
        loop {
            match Pin::new(&mut *inbound).poll_next(context) {
                Poll::Ready(Some(Ok(message))) => {
                    bytes += message.encoded_len();
                    messages.push(message);
                    if messages.len() >= STREAM_BATCH_MAX || bytes >= STREAM_BATCH_BYTES_MAX {
                        return Poll::Ready(());
                    }
                }
                Poll::Ready(Some(Err(status))) => {
                    ended = Some(corrections::status(status));
                    return Poll::Ready(());
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending if messages.is_empty() => return Poll::Pending,
                Poll::Pending => return Poll::Ready(()),
            }
        }
    })
    .await;
    (messages, ended)
}
