//! How to tell whether a container is healthy.

use serde::{Deserialize, Serialize};

/// A health check in the units of the image format: nanoseconds (Docker image spec v1.2, "Healthcheck").
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", "…"]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    /// Nanoseconds between checks; 0: 30 s.
    #[serde(skip_serializing_if = "is_zero")]
    pub interval: u64,
    /// Nanoseconds one check may take; 0: 30 s.
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout: u64,
    /// Nanoseconds in which failures do not count.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_period: u64,
    /// Nanoseconds between checks in the start period; 0: 5 s.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_interval: u64,
    /// Failures until unhealthy; 0: 3.
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: u64,
}

impl Healthcheck {
    /// What it does not say is as in `image` (docker's `daemon/commit.go`, `merge`).
    pub fn inherit(&mut self, image: &Self) {
        if self.test.first().is_some_and(|kind| kind == "NONE") {
            return;
        }
        if self.test.is_empty() {
            self.test.clone_from(&image.test);
        }
        for (own, theirs) in [
            (&mut self.interval, image.interval),
            (&mut self.timeout, image.timeout),
            (&mut self.start_period, image.start_period),
            (&mut self.start_interval, image.start_interval),
            (&mut self.retries, image.retries),
        ] {
            if *own == 0 {
                *own = theirs;
            }
        }
    }

    /// The program and its arguments; `None`: nothing is checked.
    pub fn command(&self) -> Option<Vec<String>> {
        let (kind, words) = self.test.split_first()?;
        match kind.as_str() {
            "CMD" if !words.is_empty() => Some(words.to_vec()),
            "CMD-SHELL" if !words.is_empty() => {
                Some(["/bin/sh", "-c"].into_iter().map(str::to_owned).chain(words.iter().cloned()).collect())
            }
            _ => None,
        }
    }
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// The check that is run until the container has started, instead of its own; podman's, and not part of images.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct StartupCheck {
    /// Command, interval, timeout; `retries` are the failures until the container is started again, 0: without limit.
    #[serde(flatten)]
    pub check: Healthcheck,
    /// Successes in a row until the container counts as started; 0: one.
    #[serde(skip_serializing_if = "is_zero")]
    pub successes: u64,
}

/// What follows from checks; podman's, and not part of images.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthPolicy {
    /// `--health-on-failure`: `none`, `kill`, `restart` or `stop`; empty: none.
    pub on_failure: String,
    /// `--health-max-log-count`: results that are kept, 0: all; `None`: 5.
    pub max_log_count: Option<u64>,
    /// `--health-max-log-size`: bytes of a result's output that are kept, 0: all; `None`: 4096.
    pub max_log_size: Option<u64>,
    /// `--health-log-destination`: [`Self::LOCAL`], [`Self::EVENTS`] or a directory; empty: local.
    pub log_destination: String,
}

impl HealthPolicy {
    /// Results are kept with the container.
    pub const LOCAL: &str = "local";
    /// And told as an event each.
    pub const EVENTS: &str = "events_logger";

    /// The directory that the results are written to as well.
    pub fn log_directory(&self) -> Option<&str> {
        Some(self.log_destination.as_str()).filter(|place| !matches!(*place, "" | Self::LOCAL | Self::EVENTS))
    }
}

/// What checks have found of a running container, or found last of one that ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// It has no check.
    #[default]
    None,
    /// No check has succeeded yet, and not too many have failed.
    Starting,
    /// The last checks succeeded, or not too many failed.
    Healthy,
    /// As many checks failed in a row as `--health-retries` says.
    Unhealthy,
}

impl Health {
    /// The word, as in JSON and in filters.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn test(words: &[&str]) -> Healthcheck {
        Healthcheck { test: words.iter().map(|w| (*w).to_owned()).collect(), ..Healthcheck::default() }
    }

    #[test]
    fn commands() {
        assert_eq!(test(&["CMD", "a", "b"]).command().unwrap(), ["a", "b"]);
        assert_eq!(test(&["CMD-SHELL", "a b"]).command().unwrap(), ["/bin/sh", "-c", "a b"]);
        for none in [&[][..], &["NONE"], &["CMD"], &["CMD-SHELL"], &["WHAT", "x"]] {
            assert_eq!(test(none).command(), None, "{none:?}");
        }
    }

    #[test]
    fn the_images_check_fills_what_is_not_said() {
        let image = Healthcheck { interval: 7, retries: 9, ..test(&["CMD", "a"]) };
        let mut own = Healthcheck { interval: 1, ..Healthcheck::default() };
        own.inherit(&image);
        assert_eq!(own, Healthcheck { interval: 1, retries: 9, ..test(&["CMD", "a"]) });
        let mut off = test(&["NONE"]);
        off.inherit(&image);
        assert_eq!(off, test(&["NONE"]));
    }
}
