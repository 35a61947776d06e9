//! How many blobs are moved at a time: more while that moves more bytes, fewer after a registry has had enough.
//!
//! Whoever moves a blob takes a lane for it. There are some to begin with, one more whenever all are busy and the last one
//! was worth its while, and half as many once the other side was overloaded, went silent or broke off. What is on its way
//! is not given up for that.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long bytes are counted before it is decided anew.
const WINDOW: Duration = Duration::from_millis(300);
/// So much more (of 100) is worth a further lane.
const WORTH: f64 = 1.1;
/// Lanes to begin with, unless there are more cores to unpack on.
const FIRST: usize = 3;

/// The lanes of one image.
pub struct Lanes<'a> {
    most: usize,
    /// How often the other side has had enough.
    troubles: &'a (dyn Fn() -> usize + Sync),
    moved: AtomicU64,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    limit: usize,
    busy: usize,
    /// Troubles that have been heeded.
    heeded: usize,
    since: Instant,
    /// Bytes a second with one lane less.
    before: f64,
}

impl<'a> Lanes<'a> {
    /// No more than `most`, and at first as many as are worth trying.
    pub fn growing(most: usize, troubles: &'a (dyn Fn() -> usize + Sync)) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::beginning(FIRST.max(cores), most, troubles)
    }

    fn beginning(first: usize, most: usize, troubles: &'a (dyn Fn() -> usize + Sync)) -> Self {
        let most = most.max(1);
        let state =
            State { limit: first.min(most), busy: 0, heeded: troubles(), since: Instant::now(), before: 0.0 };
        Self { most, troubles, moved: AtomicU64::new(0), state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Waits for a lane. It is free again when it is dropped.
    pub fn enter(&self) -> Lane<'_> {
        let mut state = self.state();
        loop {
            self.review(&mut state, Instant::now());
            if state.busy < state.limit {
                state.busy += 1;
                return Lane(self);
            }
            let waited = self.changed.wait_timeout(state, WINDOW);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// So many bytes more have been moved.
    pub fn moved(&self, bytes: u64) {
        self.moved.fetch_add(bytes, Ordering::Relaxed);
    }

    fn review(&self, state: &mut State, now: Instant) {
        let troubles = (self.troubles)();
        if troubles != state.heeded {
            state.heeded = troubles;
            state.limit = (state.limit.min(state.busy.max(1)) / 2).max(1);
            // What was reached before the trouble would keep it from ever growing again.
            state.before = 0.0;
            tracing::debug!("the other side has had enough: {} at a time", state.limit);
        } else if now.duration_since(state.since) < WINDOW {
            return;
        } else {
            let rate =
                self.moved.load(Ordering::Relaxed) as f64 / now.duration_since(state.since).as_secs_f64();
            if state.busy >= state.limit && state.limit < self.most && rate > state.before * WORTH {
                state.before = rate;
                state.limit += 1;
                tracing::debug!("{} at a time", state.limit);
            }
        }
        state.since = now;
        self.moved.store(0, Ordering::Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of the lanes, taken.
pub struct Lane<'a>(&'a Lanes<'a>);

impl Drop for Lane<'_> {
    fn drop(&mut self) {
        self.0.state().busy -= 1;
        self.0.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn lanes_grow_while_it_pays_and_are_halved_by_trouble() {
        let troubles = AtomicUsize::new(7);
        let count = || troubles.load(Ordering::Relaxed);
        let lanes = Lanes::beginning(2, 4, &count);
        let mut now = Instant::now();
        let mut window = |bytes: u64, busy: usize| {
            now += WINDOW;
            lanes.moved(bytes);
            let mut state = lanes.state();
            state.busy = busy;
            lanes.review(&mut state, now);
            state.limit
        };
        assert_eq!(window(1000, 1), 2, "not all are busy");
        assert_eq!(window(1000, 2), 3);
        assert_eq!(window(1050, 3), 3, "the third one brought nothing");
        assert_eq!(window(2000, 3), 4);
        assert_eq!(window(9000, 4), 4, "no more than the user wants");
        troubles.store(8, Ordering::Relaxed);
        assert_eq!(window(9000, 4), 2);
        troubles.store(9, Ordering::Relaxed);
        assert_eq!(window(100, 4), 1);
        troubles.store(10, Ordering::Relaxed);
        assert_eq!(window(100, 1), 1, "one there is always");
        assert_eq!(window(100, 1), 2, "and it begins to grow again");
        assert_eq!(window(0, 2), 2);
    }

    #[test]
    fn a_lane_is_waited_for() {
        let none = || 0;
        let lanes = Lanes::beginning(1, 1, &none);
        let busy = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let _lane = lanes.enter();
                    assert_eq!(busy.fetch_add(1, Ordering::SeqCst), 0);
                    std::thread::sleep(Duration::from_millis(5));
                    busy.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
    }
}
