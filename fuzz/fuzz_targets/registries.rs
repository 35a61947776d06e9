//! registries.conf, and names looked up in whatever it says.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use coracle::engine::config::Environment;
use coracle::engine::config::registries::Registries;
use libfuzzer_sys::fuzz_target;

fn base() -> &'static PathBuf {
    static BASE: OnceLock<PathBuf> = OnceLock::new();
    BASE.get_or_init(|| {
        let memory = ["/dev/shm", "/tmp"].iter().find(|p| fs::metadata(p).is_ok()).unwrap();
        tempfile::Builder::new().prefix("fuzz-registries.").tempdir_in(memory).unwrap().keep()
    })
}

fuzz_target!(|data: &[u8]| {
    let base = base();
    let file = base.join("registries.conf");
    fs::write(&file, data).unwrap();
    let text = |path: PathBuf| path.to_str().unwrap().to_owned();
    let env = Environment {
        vars: [
            ("CONTAINERS_REGISTRIES_CONF".to_owned(), text(file)),
            ("CONTAINERS_REGISTRIES_CONF_DIR".to_owned(), text(base.join("none"))),
            ("XDG_CACHE_HOME".to_owned(), text(base.join("cache"))),
        ]
        .into(),
        home: base.clone(),
        cwd: base.clone(),
        ..Default::default()
    };
    if let Ok(registries) = Registries::load(&env) {
        assert!(!registries.search().is_empty() || registries.search_origin().is_some());
        for name in ["docker.io/library/debian", "example.com:5000/a/b", "localhost/x", "debian"] {
            let _ = registries.alias(name);
            let _ = registries.find(name);
            let _ = registries.sources(name, false);
            let _ = registries.sources(name, true);
        }
    }
});
