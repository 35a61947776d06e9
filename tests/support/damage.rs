//! Damage that is done to a store, for what finds and repairs it.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Outcome, Sandbox, store};

/// A store with images, containers and a volume, to be damaged.
pub struct Patient {
    pub sandbox: Sandbox,
}

impl Patient {
    pub fn new(sandbox: Sandbox) -> Self {
        for image in ["lab/busybox", "lab/multi"] {
            sandbox.pull(image);
        }
        sandbox.coracle(["volume", "create", "--label", "a=b", "data"]).ok();
        sandbox
            .coracle([
                "run",
                "--name",
                "c",
                "-v",
                "data:/data",
                "lab/multi",
                "sh",
                "-c",
                "echo x > /data/f; echo y > /made",
            ])
            .ok();
        sandbox.coracle(["commit", "-q", "c", "localhost/committed:1"]).ok();
        sandbox.coracle(["system", "check"]).ok().stdout_is("");
        Self { sandbox }
    }

    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.sandbox.graph_root().join(relative)
    }

    pub fn table(&self, name: &str) -> Vec<Value> {
        serde_json::from_slice(&fs::read(self.path(name)).unwrap()).unwrap()
    }

    pub fn set_table(&self, name: &str, records: &[Value]) {
        fs::write(self.path(name), serde_json::to_vec(records).unwrap()).unwrap();
    }

    pub fn change(&self, table: &str, id: &str, change: impl FnOnce(&mut Value)) {
        let mut records = self.table(table);
        change(records.iter_mut().find(|r| r["id"] == id).unwrap());
        self.set_table(table, &records);
    }

    pub fn image(&self, name: &str) -> Value {
        let has = |i: &Value| {
            i["names"].as_array().into_iter().flatten().any(|n| n.as_str().unwrap().contains(name))
        };
        self.table(IMAGES).into_iter().find(has).unwrap()
    }

    /// The layers of an image, the uppermost first.
    pub fn layers(&self, image: &str) -> Vec<Value> {
        let all = self.table(LAYERS);
        let mut next = self.image(image)["layer"].as_str().map(str::to_owned);
        let mut found = Vec::new();
        while let Some(id) = next {
            let layer = all.iter().find(|l| l["id"] == id.as_str()).unwrap().clone();
            next = layer["parent"].as_str().map(str::to_owned);
            found.push(layer);
        }
        found
    }

    /// Of lab/multi: the top, and the one below it.
    pub fn top(&self) -> String {
        id(&self.layers("lab/multi")[0])
    }

    pub fn container(&self) -> Value {
        self.table(CONTAINERS)[0].clone()
    }

    /// Some regular file with contents in a layer.
    pub fn file_in(&self, layer: &str) -> PathBuf {
        let mut queue = vec![self.path(format!("overlay/{layer}/diff"))];
        while let Some(directory) = queue.pop() {
            for entry in fs::read_dir(directory).unwrap().flatten() {
                let meta = fs::symlink_metadata(entry.path()).unwrap();
                if meta.is_dir() {
                    queue.push(entry.path());
                } else if meta.is_file() && meta.len() > 0 {
                    return entry.path();
                }
            }
        }
        panic!("{layer} has no files");
    }

    /// Does the damage, and leaves nothing of root's in a user's store.
    pub fn damage(&self, inflict: Inflict) {
        inflict(self);
        let root = self.sandbox.graph_root();
        let owner = fs::metadata(&root).unwrap();
        if owner.uid() == 0 {
            return;
        }
        let owner = format!("{}:{}", owner.uid(), owner.gid());
        let chown =
            std::process::Command::new("chown").args(["-hR", "--from=0:0", &owner]).arg(&root).status();
        assert!(chown.unwrap().success());
    }

    pub fn check(&self) -> Outcome {
        self.sandbox.coracle(["system", "check"]).run()
    }

    /// The images are all there, whole, and run; the container has its files.
    pub fn is_well(&self, why: &str) {
        self.sandbox.coracle(["system", "check"]).ok().stdout_is("");
        assert_eq!(store::problems(&self.sandbox), Vec::<String>::new(), "{why}");
        for image in ["lab/busybox", "lab/multi", "localhost/committed:1"] {
            self.sandbox.coracle(["run", "--rm", "--network=none", image, "true"]).ok();
            // Every layer can be made into its archive again.
            self.sandbox.coracle(["save", "-q", "-o", "/dev/null", image]).ok();
        }
        self.sandbox.coracle(["start", "-a", "c"]).ok();
        self.sandbox.coracle(["diff", "c"]).ok().stdout_has("/made");
        self.sandbox.coracle(["volume", "inspect", "data"]).ok();
        if let Ok(podman) = self.sandbox.podman(["images", "-q"]) {
            assert_eq!(podman.ok().lines().len(), 3, "{why}");
        }
    }
}

pub const LAYERS: &str = "overlay-layers/layers.json";
pub const IMAGES: &str = "overlay-images/images.json";
pub const CONTAINERS: &str = "overlay-containers/containers.json";

pub fn id(record: &Value) -> String {
    record["id"].as_str().unwrap().to_owned()
}

pub fn truncate(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() * 2 / 3]).unwrap();
}

pub type Inflict = fn(&Patient);

/// What is done to the store, and words of what is said about it. None of it loses anything.
pub const REPAIRABLE: &[(&str, &str, Inflict)] = &[
    ("layers.json cut off", "layers.json is damaged", |p| truncate(&p.path(LAYERS))),
    ("images.json cut off", "images.json is damaged", |p| truncate(&p.path(IMAGES))),
    ("containers.json cut off", "containers.json is damaged", |p| truncate(&p.path(CONTAINERS))),
    ("layers.json empty", "has no record", |p| fs::write(p.path(LAYERS), "").unwrap()),
    ("images.json empty", "has no record", |p| fs::write(p.path(IMAGES), "").unwrap()),
    ("containers.json empty", "has no record", |p| fs::write(p.path(CONTAINERS), "").unwrap()),
    ("garbage in a record", "layers.json is damaged", |p| {
        let text = fs::read_to_string(p.path(LAYERS)).unwrap();
        fs::write(p.path(LAYERS), text.replacen("\"created\":\"", "\"created\":\"\u{1}\0", 1)).unwrap();
    }),
    ("a record twice", "is there twice", |p| {
        let mut images = p.table(IMAGES);
        images.push(images[0].clone());
        p.set_table(IMAGES, &images);
    }),
    ("a layer's record gone", "has no record", |p| {
        let top = p.top();
        let kept: Vec<Value> = p.table(LAYERS).into_iter().filter(|l| l["id"] != top.as_str()).collect();
        p.set_table(LAYERS, &kept);
    }),
    ("an orphaned directory", "is of no image and no container", |p| {
        let orphan = p.path(format!("overlay/{}", "ab".repeat(32)));
        fs::create_dir_all(orphan.join("diff/etc")).unwrap();
        fs::write(orphan.join("link"), "ABCDEFGHIJKLMNOPQRSTUVWXYZ").unwrap();
        symlink(format!("../{}/diff", "ab".repeat(32)), p.path("overlay/l/ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
            .unwrap();
    }),
    ("an orphaned image", "is not whole", |p| {
        fs::create_dir_all(p.path(format!("overlay-images/{}", "cd".repeat(32)))).unwrap();
    }),
    ("an orphaned tar-split", "was left", |p| {
        fs::write(p.path(format!("overlay-layers/{}.tar-split.gz", "ef".repeat(32))), "x").unwrap();
    }),
    ("link file gone", "`link` file", |p| {
        fs::remove_file(p.path(format!("overlay/{}/link", p.top()))).unwrap()
    }),
    ("link file wrong", "`link` file", |p| {
        fs::write(p.path(format!("overlay/{}/link", p.top())), "x/../y").unwrap()
    }),
    ("link gone", "has no link", |p| {
        let link = fs::read_to_string(p.path(format!("overlay/{}/link", p.top()))).unwrap();
        fs::remove_file(p.path(format!("overlay/l/{link}"))).unwrap();
    }),
    ("link to another layer", "leads to layer", |p| {
        let layers = p.layers("lab/multi");
        let link = p
            .path("overlay/l")
            .join(fs::read_to_string(p.path(format!("overlay/{}/link", id(&layers[0])))).unwrap());
        fs::remove_file(&link).unwrap();
        symlink(format!("../{}/diff", id(&layers[1])), link).unwrap();
    }),
    ("both links of a layer gone", "has no link", |p| {
        let link = fs::read_to_string(p.path(format!("overlay/{}/link", p.top()))).unwrap();
        fs::remove_file(p.path(format!("overlay/l/{link}"))).unwrap();
        fs::remove_file(p.path(format!("overlay/{}/link", p.top()))).unwrap();
    }),
    ("a stray link", "leads to no layer", |p| {
        symlink("../nowhere/diff", p.path("overlay/l/AAAAAAAAAAAAAAAAAAAAAAAAAA")).unwrap();
    }),
    ("lower wrong", "`lower` file", |p| {
        fs::write(p.path(format!("overlay/{}/lower", p.top())), "l/AAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap();
    }),
    ("lower gone", "`lower` file", |p| {
        fs::remove_file(p.path(format!("overlay/{}/lower", p.top()))).unwrap()
    }),
    ("a size", "is recorded with 7 bytes", |p| p.change(LAYERS, &p.top(), |l| l["diff-size"] = json!(7))),
    ("a digest recorded wrongly", "not the one that is recorded", |p| {
        p.change(LAYERS, &p.top(), |l| l["diff-digest"] = json!(format!("sha256:{}", "0".repeat(64))));
    }),
    ("an image's sizes", "bytes and records", |p| {
        let image = id(&p.image("lab/multi"));
        p.change(IMAGES, &image, |i| i["big-data-sizes"]["manifest"] = json!(3));
    }),
    ("an image's layer wrong", "another image's", |p| {
        let (image, other) = (id(&p.image("lab/multi")), p.image("lab/busybox")["layer"].clone());
        p.change(IMAGES, &image, |i| i["layer"] = other);
    }),
    ("manifest gone", "has lost its manifest", |p| {
        fs::remove_file(p.path(format!("overlay-images/{}/manifest", id(&p.image("lab/multi"))))).unwrap();
    }),
    ("manifest damaged", "has a damaged manifest", |p| {
        truncate(&p.path(format!("overlay-images/{}/manifest", id(&p.image("lab/multi")))));
    }),
    ("a name twice", "has the name", |p| {
        // It stays with the later one.
        let images = p.table(IMAGES);
        let name = images.last().unwrap()["names"][0].clone();
        p.change(IMAGES, &id(&images[0]), |i| i["names"].as_array_mut().unwrap().push(name));
    }),
    ("an incomplete layer", "is incomplete", |p| {
        let mut layers = p.table(LAYERS);
        layers.push(
            json!({"id": "12".repeat(32), "created": "2024-01-01T00:00:00Z", "flags": {"incomplete": true}}),
        );
        p.set_table(LAYERS, &layers);
        fs::create_dir_all(p.path(format!("overlay/{}/diff", "12".repeat(32)))).unwrap();
    }),
    ("an old layer of nobody", "is used by no image", |p| {
        let mut layers = p.table(LAYERS);
        layers.push(json!({"id": "34".repeat(32), "created": "2024-01-01T00:00:00Z"}));
        p.set_table(LAYERS, &layers);
        let directory = p.path(format!("overlay/{}", "34".repeat(32)));
        fs::create_dir_all(directory.join("diff")).unwrap();
        fs::write(directory.join("link"), "BBBBBBBBBBBBBBBBBBBBBBBBBB").unwrap();
        symlink(format!("../{}/diff", "34".repeat(32)), p.path("overlay/l/BBBBBBBBBBBBBBBBBBBBBBBBBB"))
            .unwrap();
    }),
    ("a staged layer left", "was left by a command that died", |p| {
        fs::create_dir_all(p.path("coracle/staging/dead/diff")).unwrap();
        fs::write(p.path("coracle/staging/dead/lock"), "").unwrap();
    }),
    ("a temporary file left", "was left by a command that died", |p| {
        fs::write(p.path("overlay-images/.tmp-images.json0"), "[{").unwrap();
    }),
    ("a note left", "half done", |p| {
        fs::create_dir_all(p.path("coracle/pending")).unwrap();
        fs::write(p.path(format!("coracle/pending/layer-{}", "56".repeat(32))), "").unwrap();
    }),
    ("a count that lies", "is counted as mounted", |p| {
        let path = p.sandbox.run_root().join("overlay-layers/mountpoints.json");
        let top = p.top();
        fs::write(
            path,
            json!([{"id": top, "path": format!("/nowhere/{top}/merged"), "count": 2}]).to_string(),
        )
        .unwrap();
    }),
    ("a changed mode", "is not as it was made", |p| {
        use std::os::unix::fs::PermissionsExt;
        let file = p.file_in(&p.top());
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    }),
    ("a file too many", "is not of the layer", |p| {
        fs::write(p.path(format!("overlay/{}/diff/intruder", p.top())), "x").unwrap();
    }),
    ("tar-split of a committed layer gone", "tar-split file is missing", |p| {
        let top = id(&p.layers("committed")[0]);
        fs::remove_file(p.path(format!("overlay-layers/{top}.tar-split.gz"))).unwrap();
    }),
    ("tar-split of a committed layer damaged", "tar-split file is damaged", |p| {
        truncate(&p.path(format!("overlay-layers/{}.tar-split.gz", id(&p.layers("committed")[0]))));
    }),
    ("a state.json cut off", "state.json that cannot be read", |p| {
        truncate(&p.path(format!("coracle/containers/{}/state.json", id(&p.container()))));
    }),
    ("a name's link gone", "has lost its name", |p| fs::remove_file(p.path("coracle/names/c")).unwrap()),
    ("a name of nobody", "is of no container", |p| {
        symlink("78".repeat(32), p.path("coracle/names/nobody")).unwrap()
    }),
    ("a volume's record cut off", "volume data has no record", |p| {
        truncate(&p.path("coracle/volumes/data/volume.json"))
    }),
];

/// What a repair takes several steps for, and what all of can be done to one store without losing anything.
pub const MANY_STEPS: &[&str] = &[
    "layers.json cut off",
    "an orphaned directory",
    "link to another layer",
    "lower wrong",
    "an image's layer wrong",
    "manifest damaged",
    "an incomplete layer",
    "a staged layer left",
    "a changed mode",
    "tar-split of a committed layer gone",
    "a state.json cut off",
    "a name's link gone",
    "a volume's record cut off",
];

/// What cannot be repaired, and whether lab/multi is lost by it.
pub const LOST: &[(&str, &str, Inflict)] = &[
    ("a layer's directory gone", "has no directory", |p| {
        fs::remove_dir_all(p.path(format!("overlay/{}", p.top()))).unwrap()
    }),
    ("a layer's files gone", "has no files", |p| {
        fs::remove_dir_all(p.path(format!("overlay/{}/diff", p.top()))).unwrap()
    }),
    ("contents changed", "has changed since it was made", |p| {
        let file = p.file_in(&p.top());
        let mut bytes = fs::read(&file).unwrap();
        bytes[0] ^= 1;
        fs::write(file, bytes).unwrap();
    }),
    ("a file gone", "has changed since it was made", |p| fs::remove_file(p.file_in(&p.top())).unwrap()),
    ("tar-split gone", "tar-split file is missing", |p| {
        fs::remove_file(p.path(format!("overlay-layers/{}.tar-split.gz", p.top()))).unwrap();
    }),
    ("tar-split damaged", "tar-split file is damaged", |p| {
        truncate(&p.path(format!("overlay-layers/{}.tar-split.gz", p.top())));
    }),
    ("configuration gone", "has lost its sha256:", |p| {
        let image = p.image("lab/multi");
        let directory = p.path(format!("overlay-images/{}", id(&image)));
        let config = fs::read_dir(directory)
            .unwrap()
            .flatten()
            .find(|e| e.file_name().to_string_lossy().starts_with("=c2hhMjU2"))
            .unwrap();
        fs::remove_file(config.path()).unwrap();
    }),
];
