//! `system df` and `system prune`: what is on the disk, and what nobody uses of it.

use crate::support::{Entry, Image, Layer, Sandbox, busybox_entries, require};
use serde_json::{Value, json};

fn row<'v>(all: &'v Value, kind: &str) -> &'v Value {
    all.as_array().unwrap().iter().find(|r| r["Type"] == kind).unwrap()
}

#[test]
fn the_disk_is_counted_and_cleaned() {
    for sandbox in require!(Sandbox::both()) {
        sandbox.pull("lab/busybox");
        // Two images on one layer, which is counted once.
        let base = Layer::of(busybox_entries());
        for name in ["one", "two"] {
            let image =
                Image::new([base.clone(), Layer::of([Entry::file(name, vec![b'x'; 1000])])], json!({}));
            sandbox.registry().push(&format!("lab/{name}"), "latest", &image);
            sandbox.coracle(["pull", "-q", &format!("lab/{name}")]).ok();
        }
        let fill = "head -c 100000 /dev/zero > /d/file; head -c 50000 /dev/zero > /own; sleep 1000";
        let run =
            ["run", "-d", "--network=none", "--name", "live", "-v", "kept:/d", "lab/one", "sh", "-c", fill];
        sandbox.coracle(run).ok();
        sandbox
            .coracle(["run", "--network=none", "--name", "dead", "-v", "/anonymous", "lab/busybox", "true"])
            .ok();
        sandbox.coracle(["exec", "live", "sh", "-c", "until [ -s /own ]; do sleep 0.1; done"]).ok();
        let df = sandbox.coracle(["system", "df", "--format", "json"]).ok().json();
        assert_eq!((&row(&df, "Images")["Total"], &row(&df, "Images")["Active"]), (&json!(3), &json!(2)));
        let sizes = sandbox.coracle(["images", "--format", "json"]).ok().json();
        let sum: i64 = sizes.as_array().unwrap().iter().map(|i| i["Size"].as_i64().unwrap()).sum();
        let total = row(&df, "Images")["RawSize"].as_i64().unwrap();
        assert!(total > 1_000_000 && total < sum, "{total} {sum}");
        assert_eq!(
            (&row(&df, "Containers")["Total"], &row(&df, "Containers")["Active"]),
            (&json!(2), &json!(1))
        );
        assert!(row(&df, "Containers")["RawSize"].as_i64().unwrap() >= 50_000, "{df}");
        let volumes = row(&df, "Local Volumes");
        assert_eq!((&volumes["Total"], &volumes["Active"]), (&json!(2), &json!(2)));
        assert_eq!(volumes["RawSize"], 100_000);
        let table = sandbox.coracle(["system", "df"]).ok();
        let headings: Vec<&str> = table.lines()[0].split_whitespace().collect();
        assert_eq!(headings, ["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]);
        assert_eq!(table.lines().len(), 5);
        sandbox
            .coracle(["system", "df", "-v"])
            .ok()
            .stdout_has("Images space usage:")
            .stdout_has("LOCAL VOLUMES")
            .stdout_has("kept");
        sandbox.coracle(["system", "df", "-v", "--format", "json"]).fails(1);

        // Asked and not answered with yes, nothing goes.
        let asked = sandbox.coracle(["system", "prune"]).stdin("n\n").ok();
        asked.stdout_has("all stopped containers").stdout_has("Are you sure you want to continue? [y/N]");
        sandbox.coracle(["container", "exists", "dead"]).ok();
        sandbox.coracle(["network", "create", "unused"]).ok();
        let pruned = sandbox.coracle(["system", "prune", "-f", "--volumes"]).ok();
        pruned
            .stdout_has("Deleted Containers:")
            .stdout_has("Deleted Networks:\nunused")
            .stdout_has("Deleted Volumes:")
            .stdout_has("Total reclaimed space:")
            .stdout_lacks("Deleted Images:");
        sandbox.coracle(["volume", "ls", "-q"]).ok().stdout_is("kept");
        sandbox.coracle(["system", "prune", "-af"]).ok().stdout_has("untagged: docker.io/lab/two:latest");
        sandbox
            .coracle(["images", "--format", "{{.Repository}}"])
            .ok()
            .stdout_has("lab/one")
            .stdout_lacks("lab/two");
        sandbox.coracle(["exec", "live", "test", "-s", "/d/file"]).ok();
        sandbox
            .coracle(["system", "prune", "-f", "--filter", "nope=1"])
            .fails(1)
            .stderr_has("invalid filter");
        sandbox.coracle(["system", "prune", "-f", "--external"]).fails(1);
        sandbox.coracle(["rm", "-ft0", "live"]).ok();
        sandbox.coracle(["volume", "rm", "kept"]).ok();
    }
}
