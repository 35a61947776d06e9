//! Registries that have had enough: they say so, and when to come again; what is asked of them then is less, and comes later.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::{
    Entry, Gate, Image, Layer, Registry, RegistryOptions, Sandbox, Tarball, Verdict, busybox, require,
};

fn empty() -> Registry {
    Registry::start(RegistryOptions { empty: true, ..RegistryOptions::default() }).unwrap()
}

/// Busybox, and `count` layers on top of it.
fn many_layers(count: u8) -> Image {
    let mut image = busybox();
    for number in 0..count {
        let content: Vec<u8> =
            (0..60_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 11) as u8 ^ number).collect();
        let tar = Tarball::of(vec![Entry::file(format!("file-{number}"), content)]).finish();
        image.layers.push(Layer::gzip(&tar));
    }
    image
}

fn enough(seconds: u32) -> Verdict {
    let body = br#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}"#.to_vec();
    Verdict::Answer("429 Too Many Requests", vec![format!("Retry-After: {seconds}")], body)
}

#[test]
fn a_registry_that_bears_two_downloads_gets_no_more() {
    for sandbox in require!(Sandbox::both()) {
        let registry = empty();
        registry.push("some/image", "1", &many_layers(9));
        let (now, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (inside, count) = (Arc::clone(&now), Arc::clone(&refused));
        let gate = Gate::start(&registry.address(), move |asked| {
            if asked.method != "GET" || !asked.path.contains("/blobs/") {
                return Verdict::Pass;
            }
            let before = inside.fetch_add(1, Ordering::SeqCst);
            sleep(Duration::from_millis(150));
            inside.fetch_sub(1, Ordering::SeqCst);
            if before < 2 {
                return Verdict::Pass;
            }
            count.fetch_add(1, Ordering::SeqCst);
            enough(1)
        });
        let name = format!("{}/some/image:1", gate.address());
        // One attempt more would not be enough if all came again at once.
        sandbox.coracle(["pull", "-q", "--retry=1", &name]).ok();
        let refused = refused.load(Ordering::SeqCst);
        assert!((1..=8).contains(&refused), "{refused} requests were refused");
        sandbox.coracle(["run", "--rm", "--network=none", &name, "cat", "/file-8"]).ok();
        sandbox.coracle(["rmi", "-f", &name]).ok();
    }
}

#[test]
fn retry_after_is_obeyed_by_push_and_pull() {
    let sandbox = require!(Sandbox::user());
    let registry = empty();
    let told = Arc::new(AtomicUsize::new(0));
    let (kinds, count) = (["POST", "PATCH", "PUT", "HEAD", "GET"], Arc::clone(&told));
    // The first request of each kind is refused.
    let seen = std::sync::Mutex::new(Vec::new());
    let gate = Gate::start(&registry.address(), move |asked| {
        let mut seen = seen.lock().unwrap();
        if kinds.contains(&asked.method.as_str()) && !seen.contains(&asked.method) {
            seen.push(asked.method.clone());
            count.fetch_add(1, Ordering::SeqCst);
            return enough(1);
        }
        Verdict::Pass
    });
    sandbox.pull("lab/busybox");
    let name = format!("{}/some/image:1", gate.address());
    let start = Instant::now();
    sandbox.coracle(["push", "-q", "lab/busybox", &name]).ok();
    assert!(told.load(Ordering::SeqCst) >= 3, "{:?}", gate.seen());
    assert!(start.elapsed() >= Duration::from_secs(2), "they were asked again at once");
    sandbox.coracle(["rmi", "-f", "lab/busybox"]).ok();
    sandbox.coracle(["pull", "-q", &name]).ok();
    // One that never has time is given up, and says why.
    let never = Gate::start(&registry.address(), |_| enough(0));
    let refused = sandbox.coracle(["pull", "-q", "--retry=1", &format!("{}/some/image:1", never.address())]);
    refused.fails(1).stderr_has("slow down");
    assert!((2..20).contains(&never.seen().len()));
}
