//! What waits in front of the lane, and that nobody waits behind it for ever.

use std::ops::{Deref, DerefMut};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::sync::mpsc::error::TryRecvError;

/// Between two looks at what is about to come.
const LOOKS_AGAIN: Duration = Duration::from_micros(100);

/// Commands in the order in which they came. Once it is gone every one that was sent has its reply dropped, which callers
/// see as a failed store.
///
/// A receiver that is merely dropped takes out what is there at that moment. A sender that has its place already and puts
/// its command there an instant later would wait for ever: it keeps the channel alive, and so its own command.
#[derive(Debug)]
pub(in crate::app) struct Queue<T>(Receiver<T>);

impl<T> From<Receiver<T>> for Queue<T> {
    fn from(commands: Receiver<T>) -> Self {
        Self(commands)
    }
}

impl<T> Deref for Queue<T> {
    type Target = Receiver<T>;

    fn deref(&self) -> &Receiver<T> {
        &self.0
    }
}

impl<T> DerefMut for Queue<T> {
    fn deref_mut(&mut self) -> &mut Receiver<T> {
        &mut self.0
    }
}

impl<T> Drop for Queue<T> {
    fn drop(&mut self) {
        self.0.close();
        loop {
            match self.0.try_recv() {
                Ok(_refused) => {}
                // Somebody has a place and is about to use it, or to give it back.
                Err(TryRecvError::Empty) => thread::sleep(LOOKS_AGAIN),
                Err(TryRecvError::Disconnected) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::{mpsc, oneshot};

    use super::*;

    #[test]
    fn who_puts_a_command_there_while_the_lane_ends_hears_that_it_has_ended() {
        let (to_lane, commands) = mpsc::channel(4);
        let queue = Queue::from(commands);
        let place = to_lane.clone().try_reserve_owned().unwrap();
        let (before, mut told_before) = oneshot::channel::<()>();
        to_lane.try_send(before).unwrap();
        let ends = thread::spawn(move || drop(queue));
        while !to_lane.is_closed() {
            thread::yield_now();
        }
        // Long enough for a receiver that takes out only what is there to be gone.
        thread::sleep(Duration::from_millis(50));
        let (late, mut told_late) = oneshot::channel::<()>();
        place.send(late);
        ends.join().unwrap();
        assert_eq!(told_before.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        assert_eq!(told_late.try_recv(), Err(oneshot::error::TryRecvError::Closed), "it would wait for ever");
    }
}
