//! Blobs on their way: bars on a terminal, lines elsewhere, nothing if nobody wants to know. All on standard error.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, OnceLock, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::engine::image::request::LayerInfo;
use crate::engine::image::{Progress, PulledImage, short_id};
use crate::engine::registry::reference::DEFAULT_DOMAIN;
use crate::engine::registry::{Descriptor, Reference};
use crate::engine::transport::{self, Moved};

/// Redraws a second: enough for the eye, little for the terminal.
const REDRAWS: u8 = 10;

/// Where progress is shown.
pub enum Board {
    /// Nowhere.
    Quiet,
    /// One line for each event: for a pipe.
    Lines(Mutex<Vec<String>>),
    /// One bar for each blob.
    Bars {
        /// All of them.
        multi: OnceLock<MultiProgress>,
        /// Those of the image at hand.
        bars: Mutex<Vec<ProgressBar>>,
    },
}

/// A blob to show: its name, its bytes, and a word if nothing is to be done.
pub struct Row {
    label: String,
    size: u64,
    done: Option<&'static str>,
}

impl Board {
    /// As standard error is.
    pub fn new(quiet: bool) -> Self {
        if quiet {
            Self::Quiet
        } else if std::io::stderr().is_terminal() {
            Self::Bars { multi: OnceLock::new(), bars: Mutex::default() }
        } else {
            Self::Lines(Mutex::default())
        }
    }

    fn unless_piped(self) -> Self {
        match self {
            Self::Lines(_) => Self::Quiet,
            board => board,
        }
    }

    fn multi(multi: &OnceLock<MultiProgress>) -> &MultiProgress {
        multi.get_or_init(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(REDRAWS)))
    }

    /// A line of text above what comes.
    pub fn text(&self, text: &str) {
        match self {
            Self::Quiet => {}
            Self::Lines(_) => line(text),
            Self::Bars { multi, .. } => {
                let _ = Self::multi(multi).println(text);
            }
        }
    }

    /// The blobs of an image; those of an earlier one stay above. `waiting`: what a line says of one to be moved.
    pub fn rows(&self, rows: Vec<Row>, waiting: &str) {
        match self {
            Self::Quiet => {}
            Self::Lines(labels) => {
                for row in &rows {
                    line(&format!("{}: {}", row.label, row.done.unwrap_or(waiting)));
                }
                *lock(labels) = rows.into_iter().map(|r| r.label).collect();
            }
            Self::Bars { multi, bars } => {
                let mut bars = lock(bars);
                bars.clear();
                for row in rows {
                    let bar = Self::multi(multi).add(ProgressBar::new(row.size));
                    bar.set_prefix(row.label);
                    match row.done {
                        Some(word) => finish(&bar, word),
                        None => bar.set_style(style("{prefix}: [{bar:30}] {bytes}/{total_bytes}")),
                    }
                    bars.push(bar);
                }
            }
        }
    }

    /// So many bytes of a blob have gone.
    pub fn position(&self, index: usize, bytes: u64) {
        if let Self::Bars { bars, .. } = self
            && let Some(bar) = lock(bars).get(index)
        {
            bar.set_position(bytes);
        }
    }

    /// A blob has arrived.
    pub fn done(&self, index: usize, word: &'static str) {
        match self {
            Self::Quiet => {}
            Self::Lines(labels) => {
                if let Some(label) = lock(labels).get(index) {
                    line(&format!("{label}: {word}"));
                }
            }
            Self::Bars { bars, .. } => {
                if let Some(bar) = lock(bars).get(index) {
                    finish(bar, word);
                }
            }
        }
    }
}

fn finish(bar: &ProgressBar, word: &'static str) {
    bar.set_style(style("{prefix}: {msg}"));
    bar.finish_with_message(word);
}

fn style(text: &str) -> ProgressStyle {
    ProgressStyle::with_template(text).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

fn line(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A pull in docker's words.
pub struct Pulling(Board);

impl Pulling {
    /// Shows nothing if `quiet`.
    pub fn new(quiet: bool) -> Self {
        Self(Board::new(quiet))
    }
}

impl Progress for Pulling {
    fn started(&self, reference: &Reference, note: Option<&str>) {
        if let Some(note) = note {
            self.0.text(note);
        }
        let repository = match reference.domain() {
            DEFAULT_DOMAIN => reference.path().to_owned(),
            _ => reference.name(),
        };
        self.0.text(&format!("{}: Pulling from {repository}", reference.tag_or_digest()));
    }

    fn layers(&self, layers: &[LayerInfo]) {
        let row = |layer: &LayerInfo| Row {
            label: short_id(layer.digest.hex()).to_owned(),
            size: layer.size,
            done: layer.present.then_some("Already exists"),
        };
        self.0.rows(layers.iter().map(row).collect(), "Pulling fs layer");
    }

    fn received(&self, index: usize, bytes: u64) {
        self.0.position(index, bytes);
    }

    fn unpacked(&self, index: usize) {
        self.0.done(index, "Pull complete");
    }

    fn finished(&self, pulled: &PulledImage) {
        let name = pulled.name.as_ref().map(Reference::familiar).unwrap_or_default();
        if let Some(digest) = &pulled.digest {
            self.0.text(&format!("Digest: {digest}"));
        }
        self.0.text(&match pulled.changed {
            true => format!("Status: Downloaded newer image for {name}"),
            false => format!("Status: Image is up to date for {name}"),
        });
    }
}

/// Layers on their way into the store from a file: bars on a terminal, nothing elsewhere.
pub struct Receiving(Board);

impl Receiving {
    /// Shows nothing if `quiet`.
    pub fn new(quiet: bool) -> Self {
        Self(Board::new(quiet).unless_piped())
    }
}

impl Progress for Receiving {
    fn layers(&self, layers: &[LayerInfo]) {
        let row = |layer: &LayerInfo| Row {
            label: short_id(layer.digest.hex()).to_owned(),
            size: layer.size,
            done: layer.present.then_some("Already exists"),
        };
        self.0.rows(layers.iter().map(row).collect(), "Loading layer");
    }

    fn received(&self, index: usize, bytes: u64) {
        self.0.position(index, bytes);
    }

    fn unpacked(&self, index: usize) {
        self.0.done(index, "Loaded");
    }
}

/// A copy to somewhere else, in docker's words for a push.
pub struct Copying(pub Board);

impl Copying {
    /// Shows nothing where there is no terminal: nobody waits for a file's layers line by line.
    pub fn unless_piped(board: Board) -> Self {
        Self(board.unless_piped())
    }
}

impl transport::Progress for Copying {
    fn blobs(&self, blobs: &[Descriptor]) {
        let row =
            |b: &Descriptor| Row { label: short_id(b.digest.hex()).to_owned(), size: b.size, done: None };
        self.0.rows(blobs.iter().map(row).collect(), "Preparing");
    }

    fn sent(&self, index: usize, bytes: u64) {
        self.0.position(index, bytes);
    }

    fn done(&self, index: usize, how: Moved) {
        self.0.done(
            index,
            match how {
                Moved::Exists => "Layer already exists",
                Moved::Written => "Pushed",
            },
        );
    }
}
