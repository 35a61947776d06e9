//! How fast a host wants to be asked.
//!
//! When it says that it is overloaded, everybody who asks it waits as long as it says, not only whoever was told; and
//! then they come one by one.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{MAX_PAUSE, lock};

/// Between two requests that have waited for the same moment.
const STAGGER: Duration = Duration::from_millis(30);

/// The pauses of one host.
#[derive(Debug, Default)]
pub struct Pace {
    /// Nobody asks before.
    until: Mutex<Option<Instant>>,
    troubles: AtomicUsize,
}

impl Pace {
    /// How often the host was overloaded, went silent or broke off.
    pub fn troubles(&self) -> usize {
        self.troubles.load(Ordering::Relaxed)
    }

    /// Something of that happened.
    pub fn trouble(&self) {
        self.troubles.fetch_add(1, Ordering::Relaxed);
    }

    /// The host is overloaded, and says for how long if it does.
    pub fn overloaded(&self, pause: Option<Duration>) {
        self.trouble();
        if let Some(pause) = pause {
            let then = Instant::now() + pause.min(MAX_PAUSE);
            let mut until = lock(&self.until);
            *until = Some(until.map_or(then, |until| until.max(then)));
        }
    }

    /// Waits until the host may be asked.
    pub async fn wait(&self) {
        let pause = self.turn(Instant::now());
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }

    /// How long to wait; the next one waits longer.
    fn turn(&self, now: Instant) -> Duration {
        let mut until = lock(&self.until);
        match *until {
            Some(moment) if moment > now => {
                *until = Some(moment + STAGGER);
                moment - now
            }
            _ => {
                *until = None;
                Duration::ZERO
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_comes_one_by_one() {
        let pace = Pace::default();
        assert_eq!(pace.turn(Instant::now()), Duration::ZERO);
        pace.overloaded(None);
        assert_eq!(pace.turn(Instant::now()), Duration::ZERO, "nobody said for how long");
        pace.overloaded(Some(Duration::from_secs(5)));
        pace.overloaded(Some(Duration::from_secs(1)));
        let now = Instant::now();
        let first = pace.turn(now);
        assert!(first > Duration::from_secs(4) && first <= Duration::from_secs(5), "{first:?}");
        assert_eq!(pace.turn(now), first + STAGGER);
        assert_eq!(pace.turn(now + Duration::from_secs(10)), Duration::ZERO);
        assert_eq!(pace.turn(now), Duration::ZERO, "the pause is over");
        assert_eq!(pace.troubles(), 3);
        pace.overloaded(Some(Duration::from_secs(100_000)));
        assert!(pace.turn(now) <= MAX_PAUSE + Duration::from_secs(1));
    }
}
