//! Buffers that several threads read, and that are filled again when the last of them is done.
//!
//! There are only so many of a kind: whoever wants another one waits. That is what bounds memory, and what holds back a
//! stage that is ahead of the others.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use crate::engine::digest::{Algorithm, Digest, Hasher};
use crate::engine::{Error, Result};

/// Buffers of one size.
pub struct Pool {
    size: usize,
    empty: Receiver<Vec<u8>>,
    home: Sender<Vec<u8>>,
}

/// Bytes that are not changed any more. Clones are the same bytes.
#[derive(Clone)]
pub struct Shared(Arc<Filled>);

struct Filled {
    /// As long as the pool's buffers are: cutting them would mean clearing them again.
    bytes: Vec<u8>,
    length: usize,
    home: Sender<Vec<u8>>,
}

impl Pool {
    /// `count` buffers of `size` bytes, allocated when they are first used: little data costs one.
    pub fn new(count: usize, size: usize) -> Self {
        let (home, empty) = channel();
        for _ in 0..count {
            let _ = home.send(Vec::new());
        }
        Self { size, empty, home }
    }

    /// A buffer to be filled, its contents whatever. Waits for one.
    pub fn take(&self) -> Vec<u8> {
        // Never closed: the other end is in here as well.
        let mut bytes = self.empty.recv().unwrap_or_default();
        bytes.resize(self.size, 0);
        bytes
    }

    /// The first `length` bytes of a buffer of this pool, for all who want to read them.
    pub fn share(&self, bytes: Vec<u8>, length: usize) -> Shared {
        Shared(Arc::new(Filled { bytes, length, home: self.home.clone() }))
    }
}

impl Deref for Shared {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0.bytes[..self.0.length]
    }
}

impl Drop for Filled {
    fn drop(&mut self) {
        // Nobody fills buffers any more if this fails.
        let _ = self.home.send(std::mem::take(&mut self.bytes));
    }
}

/// What is hashed before a thread of its own is worth its start.
const WORTH_A_THREAD: u64 = 1 << 20;

/// A running SHA-256. Of much data it is computed on a thread of its own, while others do something else with the same
/// bytes.
pub struct Digesting {
    state: State,
    seen: u64,
}

enum State {
    Here(Box<Hasher>),
    Beside(Sender<Shared>, JoinHandle<Hasher>),
    Lost,
}

impl Digesting {
    /// Nothing was seen yet.
    pub fn new() -> Self {
        Self { state: State::Here(Box::new(Hasher::new(Algorithm::Sha256))), seen: 0 }
    }

    /// Feeds bytes.
    pub fn update(&mut self, bytes: &Shared) {
        self.seen += bytes.len() as u64;
        if self.seen > WORTH_A_THREAD
            && let State::Here(hasher) = &self.state
            && let Some((buffers, thread)) = beside(hasher)
        {
            self.state = State::Beside(buffers, thread);
        }
        match &mut self.state {
            State::Here(hasher) => hasher.update(bytes),
            // The buffers are counted, so no more of them wait here than there are.
            State::Beside(buffers, _) if buffers.send(bytes.clone()).is_ok() => {}
            State::Beside(..) | State::Lost => self.state = State::Lost,
        }
    }

    /// How many bytes were fed.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// The digest of all bytes.
    ///
    /// # Errors
    /// The thread is gone, which it never should be.
    pub fn finish(self) -> Result<Digest> {
        let hasher = match self.state {
            State::Here(hasher) => *hasher,
            State::Beside(buffers, thread) => {
                drop(buffers);
                thread.join().map_err(|_| lost())?
            }
            State::Lost => return Err(lost()),
        };
        Ok(hasher.finish())
    }
}

fn lost() -> Error {
    Error::corrupt("the thread that computes a digest panicked")
}

/// Goes on with the digest on another thread. `None`: there is no core for it, or no thread to be had.
fn beside(hasher: &Hasher) -> Option<(Sender<Shared>, JoinHandle<Hasher>)> {
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        return None;
    }
    let (buffers, queue) = channel::<Shared>();
    let mut hasher = hasher.clone();
    let work = move || {
        for bytes in queue {
            hasher.update(&bytes);
        }
        hasher
    };
    let thread = std::thread::Builder::new().name("digest".to_owned()).spawn(work).ok()?;
    Some((buffers, thread))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_the_same_wherever_it_is_computed() {
        for count in [0, 1, 3, 40] {
            let pool = Pool::new(2, 64 << 10);
            let mut digesting = Digesting::new();
            let mut all = Vec::new();
            for number in 0..count {
                let mut bytes = pool.take();
                bytes.iter_mut().enumerate().for_each(|(at, byte)| *byte = (at * (number + 7)) as u8);
                let shared = pool.share(bytes, (64 << 10) - number);
                all.extend_from_slice(&shared);
                digesting.update(&shared);
            }
            assert_eq!(digesting.seen(), all.len() as u64);
            assert_eq!(digesting.finish().unwrap(), Digest::sha256(&all), "{count} buffers");
        }
    }

    #[test]
    fn there_are_only_so_many_buffers() {
        let pool = Pool::new(1, 10);
        let one = pool.share(pool.take(), 3);
        let other = one.clone();
        assert_eq!(other.len(), 3);
        drop(one);
        assert!(pool.empty.try_recv().is_err(), "somebody reads it still");
        drop(other);
        assert_eq!(pool.take().len(), 10);
    }
}
