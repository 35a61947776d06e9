//! `coracle logs`.

use super::attach::one;
use crate::cmd::{Context, Exit};
use crate::engine::conmon::{LogLine, Stream};
use crate::engine::container::logs::{Logs, LogsOptions, Next, logs};
use crate::engine::{Error, Result, moment};
use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::io::{BufWriter, Write};

/// Show what containers have written
///
/// Standard output and standard error go to ours. With --follow, until the container ends.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// A colour for each container
    #[arg(long)]
    color: bool,
    /// Show extra details given to logs
    #[arg(long)]
    details: bool,
    /// Wait for more
    #[arg(long, short)]
    follow: bool,
    /// Of the container that was created last
    #[arg(long, short)]
    latest: bool,
    /// Show names before the lines
    #[arg(long)]
    names: bool,
    /// Only lines from this time on: 2026-01-02T03:04:05Z, seconds since 1970, or how long ago (42m)
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<String>,
    /// Only the last N lines, or all
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    tail: Option<String>,
    /// As in docker, with a number: --tail; as in podman, without: --names
    #[arg(short = 'n', value_name = "N", num_args = 0..=1, default_missing_value = "")]
    n: Option<String>,
    /// Show when each line was written
    #[arg(long, short)]
    timestamps: bool,
    /// Only lines up to this time
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    until: Option<String>,
    /// Names or IDs
    containers: Vec<String>,
}

/// Shows the logs of one container, or of several, in the order of their lines.
pub fn run(cx: &Context, mut args: LogsArgs) -> Result<Exit> {
    let mut tail = args.tail.take();
    match args.n.take() {
        Some(value) if is_count(&value) => tail = Some(value),
        Some(value) => {
            args.names = true;
            if !value.is_empty() {
                args.containers.insert(0, value);
            }
        }
        None => {}
    }
    if args.containers.is_empty() != args.latest {
        return Err(Error::invalid("logs needs a container's name, or --latest, and not both"));
    }
    let now = Timestamp::now();
    let time = |flag: &str, text: &Option<String>| {
        text.as_deref().map(|text| moment::parse(flag, text, now, &TimeZone::system())).transpose()
    };
    let options = LogsOptions {
        follow: args.follow,
        since: time("--since", &args.since)?,
        until: time("--until", &args.until)?,
        tail: tail.as_deref().and_then(count),
    };
    let mut sources = Vec::new();
    if args.latest {
        sources.push(Source::open(cx, None, &args, &options, 0)?);
    }
    for (number, name) in args.containers.iter().enumerate() {
        sources.push(Source::open(cx, Some(name), &args, &options, number)?);
    }
    let mut printer = Printer::new(&args);
    match sources.as_mut_slice() {
        [source] => printer.follow_one(source)?,
        several => printer.follow_several(several)?,
    }
    Ok(Exit::OK)
}

fn is_count(text: &str) -> bool {
    text == "all" || text.parse::<i64>().is_ok()
}

/// Negative numbers, and what is no number, such as `all`, are no limit (docker container logs, "Retrieve the last logs").
fn count(text: &str) -> Option<u64> {
    text.parse().ok()
}

/// One container's log on its way out.
struct Source {
    logs: Logs,
    prefix: String,
    colour: Option<&'static str>,
    /// The stream's next byte begins a line: standard output's, standard error's.
    fresh: [bool; 2],
    /// Read, and waiting for its turn among others.
    held: Option<LogLine>,
    ended: bool,
}

/// podman's, in its order.
const COLOURS: [&str; 7] =
    ["\x1b[37m", "\x1b[31m", "\x1b[33m", "\x1b[34m", "\x1b[35m", "\x1b[36m", "\x1b[32m"];

impl Source {
    fn open(
        cx: &Context,
        name: Option<&str>,
        args: &LogsArgs,
        options: &LogsOptions,
        number: usize,
    ) -> Result<Self> {
        let engine = cx.engine()?;
        let id = one(cx, name)?;
        let prefix = match (args.names, args.containers.len() > 1) {
            (true, _) => format!("{} ", engine.state.load(&id)?.name()),
            (false, true) => format!("{} ", &id[..12]),
            (false, false) => String::new(),
        };
        let colour = args.color.then(|| COLOURS[number % COLOURS.len()]);
        let logs = logs(engine, &id, options)?;
        Ok(Self { logs, prefix, colour, fresh: [true; 2], held: None, ended: false })
    }

    /// Makes sure that `held` holds the next line, if there is one now.
    fn fill(&mut self) -> Result<()> {
        if self.held.is_none() && !self.ended {
            match self.logs.poll()? {
                Next::Line(line) => self.held = Some(line),
                Next::End => self.ended = true,
                Next::Idle => {}
            }
        }
        Ok(())
    }
}

/// Writes lines out; standard output is collected until there is nothing more to say, or something for standard error.
struct Printer {
    stdout: BufWriter<std::io::Stdout>,
    timestamps: bool,
    details: bool,
}

/// How often several logs that are followed are looked at: their ends are waited for one by one only when one is left.
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_millis(50);

impl Printer {
    fn new(args: &LogsArgs) -> Self {
        let stdout = BufWriter::with_capacity(64 * 1024, std::io::stdout());
        Self { stdout, timestamps: args.timestamps, details: args.details }
    }

    fn follow_one(&mut self, source: &mut Source) -> Result<()> {
        loop {
            match source.logs.poll()? {
                Next::Line(line) => self.line(source, &line)?,
                Next::Idle => {
                    self.flush()?;
                    source.logs.wait()?;
                }
                Next::End => return self.flush(),
            }
        }
    }

    /// The oldest of the lines that are there comes first.
    fn follow_several(&mut self, sources: &mut [Source]) -> Result<()> {
        loop {
            for source in &mut *sources {
                source.fill()?;
            }
            let oldest = sources
                .iter_mut()
                .filter(|s| s.held.is_some())
                .min_by_key(|s| s.held.as_ref().map(|l| l.time));
            if let Some(source) = oldest {
                if let Some(line) = source.held.take() {
                    self.line(source, &line)?;
                }
                continue;
            }
            self.flush()?;
            let mut open = sources.iter_mut().filter(|source| !source.ended);
            match (open.next(), open.next()) {
                (None, _) => return Ok(()),
                (Some(last), None) => last.logs.wait()?,
                _ => std::thread::sleep(LOOK_AGAIN),
            }
        }
    }

    fn line(&mut self, source: &mut Source, line: &LogLine) -> Result<()> {
        let number = usize::from(line.stream == Stream::Stderr);
        let mut out = Vec::with_capacity(line.text.len() + 64);
        if source.fresh[number] {
            // podman's colour spans the prefix, too.
            out.extend_from_slice(source.colour.unwrap_or_default().as_bytes());
            out.extend_from_slice(source.prefix.as_bytes());
            if self.timestamps {
                out.extend_from_slice(format!("{:.9} ", line.time).as_bytes());
            }
            if self.details {
                // The attributes of a line, of which our drivers have none.
                out.push(b' ');
            }
        } else {
            out.extend_from_slice(source.colour.unwrap_or_default().as_bytes());
        }
        out.extend_from_slice(&line.text);
        if source.colour.is_some() {
            out.extend_from_slice(b"\x1b[0m");
        }
        if !line.partial {
            out.push(b'\n');
        }
        source.fresh[number] = !line.partial;
        match line.stream {
            Stream::Stdout => self.stdout.write_all(&out).map_err(written),
            Stream::Stderr => {
                self.flush()?;
                let mut stderr = std::io::stderr().lock();
                stderr.write_all(&out).map_err(|e| Error::os("write to standard error", e))
            }
        }
    }

    fn flush(&mut self) -> Result<()> {
        self.stdout.flush().map_err(written)
    }
}

fn written(e: std::io::Error) -> Error {
    Error::os("write to standard output", e)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn tails_of_docker_and_podman() {
        assert_eq!(count("10"), Some(10));
        assert_eq!(count("0"), Some(0));
        for all in ["all", "-1", "ten", ""] {
            assert_eq!(count(all), None, "{all}");
        }
    }

    #[test]
    fn times_have_nine_digits_and_a_z() {
        let time: Timestamp = "2026-11-23T01:22:46.8+01:00".parse().unwrap();
        assert_eq!(format!("{time:.9}"), "2026-11-23T00:22:46.800000000Z");
    }
}
