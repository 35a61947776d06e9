//! `--gpus`: docker's requests for GPUs as CDI names of NVIDIA's (`nvidia.com/gpu=…`).

use crate::engine::spec::{DeviceSpec, csv};
use crate::engine::{Error, Result};

const KIND: &str = "nvidia.com/gpu";

/// `all`, a number, or docker's fields: `device=0,GPU-UUID`, `count=2`, `driver=nvidia`, `capabilities=compute,utility`. Without
/// any key the words are devices, as for podman.
///
/// # Errors
/// Fields that contradict each other, another driver, or what is no device's name.
pub(super) fn parse(text: &str) -> Result<Vec<DeviceSpec>> {
    let bad = |why: &str| {
        Error::invalid(format!("invalid --gpus {text:?}: {why}"))
            .with_hint("all, how many, or device=ID,…; for example --gpus 'device=0,1'")
    };
    let (mut count, mut devices, mut key) = (None, Vec::new(), "");
    let mut fields: Vec<String> = Vec::new();
    for field in csv("--gpus", text)? {
        // docker wants quotes around a field with commas in it, and shells take them away.
        fields.extend(field.split(',').map(str::to_owned));
    }
    for field in fields.iter().filter(|field| !field.is_empty()) {
        let value = match field.split_once('=') {
            Some((name, value)) => {
                key = match name {
                    "count" => "count",
                    "device" => "device",
                    "driver" => "driver",
                    "capabilities" => "capabilities",
                    "options" => return Err(bad("options of the driver are not part of CDI")),
                    _ => return Err(bad(&format!("unexpected key {name:?}"))),
                };
                value
            }
            None => field,
        };
        match (key, value) {
            ("" | "count", "all" | "-1") => count = Some(None),
            ("", word) if fields.len() > 1 || word.parse::<u32>().is_err() => devices.push(word.to_owned()),
            ("" | "count", number) => {
                count = Some(Some(number.parse::<u32>().map_err(|_| bad("count is a number, or all"))?));
            }
            ("device", id) => devices.push(id.to_owned()),
            ("driver", "nvidia" | "cdi" | "") => {}
            ("driver", _) => return Err(bad("the driver is nvidia")),
            // With CDI a device comes with all it can do.
            _ => {}
        }
    }
    if count.is_some() && !devices.is_empty() {
        return Err(bad("cannot set both count and device on device request"));
    }
    let names = match count {
        Some(None) => vec!["all".to_owned()],
        Some(Some(number)) => (0..number).map(|n| n.to_string()).collect(),
        // docker's default is one.
        None if devices.is_empty() => vec!["0".to_owned()],
        None => devices,
    };
    names.iter().map(|name| super::security::device(&format!("{KIND}={name}"))).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn requests_become_names() {
        let of = |text: &str| {
            let names = parse(text)?.into_iter().map(|d| d.source.replace("nvidia.com/gpu=", ""));
            Ok::<_, Error>(names.collect::<Vec<_>>())
        };
        for (text, want) in [
            ("all", &["all"][..]),
            ("2", &["0", "1"]),
            ("count=all,capabilities=gpu", &["all"]),
            ("count=1", &["0"]),
            ("device=0,2", &["0", "2"]),
            ("\"device=0,GPU-1-2\",capabilities=compute", &["0", "GPU-1-2"]),
            ("driver=nvidia,device=1", &["1"]),
            ("capabilities=gpu,utility", &["0"]),
            ("0,1", &["0", "1"]),
        ] {
            assert_eq!(of(text).unwrap(), want, "{text}");
        }
        for bad in ["count=x", "count=1,device=0", "driver=amd", "what=ever", "device=a/b", "options=a=b"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }
}
