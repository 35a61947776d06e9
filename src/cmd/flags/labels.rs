//! Labels and annotations.

use super::Inputs;
use super::values::{key_value, key_value_lines};
use crate::engine::spec::ContainerSpec;
use crate::engine::{Error, Result};
use clap::Args;
use std::collections::BTreeMap;

/// What is written about the container.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Labels")]
pub struct LabelArgs {
    /// Label; without a value an empty one (may be repeated)
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub label: Vec<String>,
    /// Read labels from a file (may be repeated)
    #[arg(long, value_name = "FILE")]
    pub label_file: Vec<String>,
    /// Annotation for the OCI runtime (may be repeated)
    #[arg(long, value_name = "NAME=VALUE")]
    pub annotation: Vec<String>,
}

impl LabelArgs {
    pub(super) fn apply(&self, spec: &mut ContainerSpec, inputs: &Inputs<'_>) -> Result<()> {
        spec.labels = labels(&self.label, &self.label_file, inputs)?;
        for entry in &self.annotation {
            let (name, value) = key_value("--annotation", entry)?;
            spec.annotations.insert(name, value);
        }
        Ok(())
    }
}

/// The labels of a command that reads none from files.
///
/// # Errors
/// A name is empty.
pub fn given(labels: &[String]) -> Result<BTreeMap<String, String>> {
    let mut out = BTreeMap::new();
    labels.iter().try_for_each(|label| insert(&mut out, label))?;
    Ok(out)
}

fn insert(out: &mut BTreeMap<String, String>, entry: &str) -> Result<()> {
    let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
    if name.is_empty() {
        return Err(Error::invalid(format!("invalid --label {entry:?}: the name is empty")));
    }
    out.insert(name.to_owned(), value.to_owned());
    Ok(())
}

/// Labels of files first, so that the command line wins.
///
/// # Errors
/// A file cannot be read or is malformed, or a name is empty.
pub fn labels(given: &[String], files: &[String], inputs: &Inputs<'_>) -> Result<BTreeMap<String, String>> {
    let mut out = BTreeMap::new();
    for file in files {
        let text = (inputs.read)(&inputs.env.cwd.join(file))?;
        for line in key_value_lines("--label-file", file, &text)? {
            insert(&mut out, line)?;
        }
    }
    for entry in given {
        insert(&mut out, entry)?;
    }
    Ok(out)
}
