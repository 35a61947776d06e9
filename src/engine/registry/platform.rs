//! Platforms: which instance of a multi-platform image is wanted. Pure, but for the host's CPU variant.
//!
//! Names are normalised as containerd's `platforms` package does (`aarch64` is `arm64/v8`, `x86_64` is `amd64`), and a
//! variant's older ones are accepted after it, as containers/image's `WantedPlatforms` does.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::engine::{Error, Result};

/// The platform of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Platform {
    /// GOARCH.
    pub architecture: String,
    /// GOOS.
    pub os: String,
    /// `v7`, `v8` …
    #[serde(skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, "/{}", self.variant) }
    }
}

/// What the user asked for; empty parts are the host's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlatformRequest {
    /// `--os`.
    pub os: Option<String>,
    /// `--arch`.
    pub architecture: Option<String>,
    /// `--variant`.
    pub variant: Option<String>,
}

impl PlatformRequest {
    /// Parses `--platform OS[/ARCH[/VARIANT]]`; a single word may be either.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = || Error::invalid(format!("invalid platform {text:?}: want OS[/ARCH[/VARIANT]]"));
        let part = |p: &str| match p {
            "" => Err(bad()),
            p if p.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.')) => {
                Ok(Some(p.to_lowercase()))
            }
            _ => Err(bad()),
        };
        let parts: Vec<&str> = text.split('/').collect();
        match parts[..] {
            [one] if known_os(one) => Ok(Self { os: part(one)?, ..Self::default() }),
            [one] if known_architecture(one) => Ok(Self { architecture: part(one)?, ..Self::default() }),
            [os, arch] => Ok(Self { os: part(os)?, architecture: part(arch)?, variant: None }),
            [os, arch, variant] => {
                Ok(Self { os: part(os)?, architecture: part(arch)?, variant: part(variant)? })
            }
            _ => Err(bad()),
        }
    }

    /// Whether anything was asked for.
    pub fn is_custom(&self) -> bool {
        self.os.is_some() || self.architecture.is_some() || self.variant.is_some()
    }

    /// The acceptable platforms, best first.
    pub fn wanted(&self) -> Vec<Platform> {
        let os = self.os.clone().unwrap_or_else(|| "linux".to_owned());
        let (architecture, implied) = match &self.architecture {
            Some(given) => normalized(given),
            None => (host_architecture().to_owned(), host_variant()),
        };
        let variant = self.variant.clone().unwrap_or(implied);
        let known = compatible(&architecture);
        let mut variants: Vec<String> = Vec::new();
        if variant.is_empty() {
            variants.push(String::new());
            // A newer x86-64 level would not run everywhere: it is taken only when asked for.
            let safe = if architecture == "amd64" { &known[known.len() - 1..] } else { known };
            variants.extend(safe.iter().map(|v| (*v).to_owned()));
        } else {
            match known.iter().position(|v| *v == variant) {
                Some(at) => variants.extend(known[at..].iter().map(|v| (*v).to_owned())),
                None => variants.push(variant),
            }
            variants.push(String::new());
        }
        variants
            .into_iter()
            .map(|variant| Platform { architecture: architecture.clone(), os: os.clone(), variant })
            .collect()
    }

    /// Whether an image that says it is for `platform` will do. Parts the image does not give match.
    pub fn accepts(&self, platform: &Platform) -> bool {
        let (architecture, variant) = normalized(&platform.architecture);
        let variant = if platform.variant.is_empty() { variant } else { platform.variant.clone() };
        self.wanted().iter().any(|want| {
            (platform.os.is_empty() || platform.os == want.os)
                && (architecture.is_empty() || architecture == want.architecture)
                && (variant == want.variant || variant.is_empty())
        })
    }
}

fn known_os(word: &str) -> bool {
    matches!(word, "linux" | "windows" | "darwin" | "freebsd" | "netbsd" | "openbsd" | "wasi")
}

fn known_architecture(word: &str) -> bool {
    matches!(
        normalized(word).0.as_str(),
        "amd64" | "386" | "arm" | "arm64" | "ppc64le" | "s390x" | "riscv64" | "mips64le" | "loong64" | "wasm"
    )
}

/// Architecture and implied variant from any of the usual names.
pub fn normalized(architecture: &str) -> (String, String) {
    let (architecture, variant) = match architecture.to_lowercase().as_str() {
        "x86_64" | "x86-64" | "amd64" => ("amd64".to_owned(), ""),
        "i386" | "i486" | "i586" | "i686" | "x86" => ("386".to_owned(), ""),
        "aarch64" | "arm64" => ("arm64".to_owned(), ""),
        "armhf" | "armv7" | "armv7l" => ("arm".to_owned(), "v7"),
        "armel" | "armv6" | "armv6l" => ("arm".to_owned(), "v6"),
        "armv5" | "armv5l" => ("arm".to_owned(), "v5"),
        other => (other.to_owned(), ""),
    };
    (architecture, variant.to_owned())
}

fn compatible(architecture: &str) -> &'static [&'static str] {
    match architecture {
        "arm" => &["v8", "v7", "v6", "v5"],
        "arm64" => &["v8"],
        "amd64" => &["v4", "v3", "v2", "v1"],
        _ => &[],
    }
}

/// GOARCH of this program.
pub fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    }
}

/// Variant of this CPU; known for ARM only, from the architecture line of /proc/cpuinfo (proc(5)).
fn host_variant() -> String {
    if !matches!(host_architecture(), "arm" | "arm64") {
        return String::new();
    }
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let architecture = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim().eq_ignore_ascii_case("cpu architecture"))
        .map(|(_, value)| value.trim().to_owned())
        .unwrap_or_default();
    match architecture.chars().next() {
        Some(digit @ '5'..='8') => format!("v{digit}"),
        _ => String::new(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn wanted(text: &str) -> Vec<String> {
        PlatformRequest::parse(text).unwrap().wanted().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn older_variants_follow_the_wanted_one() {
        assert_eq!(wanted("linux/arm/v7"), ["linux/arm/v7", "linux/arm/v6", "linux/arm/v5", "linux/arm"]);
        assert_eq!(wanted("linux/aarch64"), ["linux/arm64", "linux/arm64/v8"]);
        assert_eq!(wanted("linux/armhf")[0], "linux/arm/v7");
        assert_eq!(wanted("linux/x86_64")[0], "linux/amd64");
        assert_eq!(wanted("windows")[0], format!("windows/{}", host_architecture()));
        assert_eq!(wanted("s390x"), ["linux/s390x"]);
        assert_eq!(wanted("linux/arm64/v9"), ["linux/arm64/v9", "linux/arm64"]);
    }

    #[test]
    fn nonsense_is_no_platform() {
        for bad in ["", "/", "linux/", "a/b/c/d", "nope", "linux/a b"] {
            assert!(PlatformRequest::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_image_without_a_variant_is_accepted() {
        let image = |architecture: &str| Platform {
            architecture: architecture.into(),
            os: "linux".into(),
            ..Platform::default()
        };
        assert!(PlatformRequest::default().accepts(&image(host_architecture())));
        assert!(PlatformRequest::default().accepts(&Platform::default()));
        assert!(!PlatformRequest::parse("linux/arm/v6").unwrap().accepts(&image("s390x")));
        assert!(PlatformRequest::parse("linux/arm64").unwrap().accepts(&image("aarch64")));
    }
}
