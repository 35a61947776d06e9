//! What a test left behind: processes, mounts, records, directories.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Sandbox, store};

/// Everything that is in the way of an empty sandbox, apart from images, which stay.
pub fn find(sandbox: &Sandbox) -> Vec<String> {
    let base = base(sandbox);
    let pauses = pause_processes(sandbox);
    let mut found = Vec::new();
    for (pid, what) in processes(&base, &pauses) {
        found.push(format!("process {pid}: {what}"));
    }
    for mount in mounts(&base, "self") {
        found.push(format!("mount: {mount}"));
    }
    for pause in &pauses {
        for mount in mounts(&base, &pause.to_string()) {
            found.push(format!("mount in the namespace of process {pause}: {mount}"));
        }
    }
    for (directory, depth) in [
        ("root/coracle", 3),
        ("run/coracle", 3),
        ("root/overlay-containers", 1),
        ("run/overlay-containers", 1),
    ] {
        of_containers(&sandbox.path(directory), depth, &mut found);
    }
    found.extend(store::problems(sandbox));
    found
}

/// Removes the sandbox's containers with the product and the directories by hand; returns the leaks.
pub fn clean_up(sandbox: &Sandbox) -> Vec<String> {
    let mut leaks = Vec::new();
    if fs::read_dir(sandbox.path("root/coracle/containers")).is_ok_and(|mut entries| entries.next().is_some())
    {
        let remove =
            sandbox.coracle(["rm", "--all", "--force", "--time", "0"]).timeout(Duration::from_secs(90));
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| remove.run())) {
            Ok(outcome) if outcome.exit_code() == 0 => {}
            Ok(outcome) => leaks.push(format!("coracle rm --all --force: {outcome}")),
            Err(_) => leaks.push("coracle rm --all --force did not end".into()),
        }
    }
    // What follows the end of a container happens after the command that saw it has returned.
    let end = Instant::now() + Duration::from_secs(5);
    let mut rest = find(sandbox);
    while !rest.is_empty() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(50));
        rest = find(sandbox);
    }
    leaks.extend(rest);
    sweep(sandbox);
    leaks
}

/// Ends and removes everything, leak or not.
fn sweep(sandbox: &Sandbox) {
    let text = base(sandbox);
    let base = Path::new(&text);
    let pauses = pause_processes(sandbox);
    let end = |pid: i32| {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    };
    processes(&text, &pauses).into_iter().for_each(|(pid, _)| end(pid));
    // Not root, and files of subordinate ids: they belong to us only in a user namespace.
    if !super::is_root() {
        let unshare =
            sandbox.command([super::binary()]).args(sandbox.store_flags()).args(["unshare", "rm", "-rf"]);
        let _ =
            unshare.args([sandbox.graph_root(), sandbox.path("tmp"), sandbox.path("home")]).cwd("/").run();
    }
    pause_processes(sandbox).into_iter().chain(pauses).for_each(end);
    for path in all_mounts(sandbox).iter().rev() {
        let _ = nix::mount::umount2(Path::new(path), nix::mount::MntFlags::MNT_DETACH);
    }
    for _ in 0..20 {
        if fs::remove_dir_all(base).is_ok() || !base.exists() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The processes that keep rootless namespaces, Coracle's and podman's; they may live as long as the user's session.
/// Both record themselves in files that begin with the process id.
fn pause_processes(sandbox: &Sandbox) -> BTreeSet<i32> {
    let mut found = BTreeSet::new();
    let mut queue: Vec<(PathBuf, u32)> =
        [("xdg", 3), ("run", 2), ("tmp", 3)].map(|(d, n)| (sandbox.path(d), n)).into();
    while let Some((directory, depth)) = queue.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_name() == "pause.pid" || path.ends_with("coracle/pause") {
                let content = fs::read_to_string(&path).unwrap_or_default();
                let pid = content.split_whitespace().next().and_then(|word| word.parse::<i32>().ok());
                found.extend(pid.filter(|pid| *pid > 1 && owned_by(*pid, sandbox.uid())));
            } else if depth > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                queue.push((path, depth - 1));
            }
        }
    }
    found
}

/// All processes of a sandbox, those that keep namespaces included.
pub fn everybody(sandbox: &Sandbox) -> Vec<i32> {
    let pauses = pause_processes(sandbox);
    let others = processes(&base(sandbox), &pauses).into_iter().map(|(pid, _)| pid);
    others.chain(pauses.iter().copied().filter(|pid| is_running(*pid))).collect()
}

/// All mount points below a sandbox, in the order they were made.
pub fn all_mounts(sandbox: &Sandbox) -> Vec<String> {
    mounts_below(&base(sandbox), "self")
}

fn base(sandbox: &Sandbox) -> String {
    sandbox.path("").to_string_lossy().trim_end_matches('/').to_owned()
}

fn is_running(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Processes that name this directory in their arguments, that run a program in it, or that live in a mount namespace
/// made of its files.
pub fn processes_of(directory: &str) -> Vec<(i32, String)> {
    processes(directory, &BTreeSet::new())
}

fn owned_by(pid: i32, uid: u32) -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(format!("/proc/{pid}")).is_ok_and(|process| process.uid() == uid)
}

/// Processes that name the sandbox in their arguments, that run its copy of the program, or that live in a mount namespace made of its files.
fn processes(base: &str, pauses: &BTreeSet<i32>) -> Vec<(i32, String)> {
    let own = root_mount(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default());
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        if pauses.contains(&pid) || pid == std::process::id() as i32 {
            continue;
        }
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        let program = fs::read_link(entry.path().join("exe")).unwrap_or_default();
        if command.contains(base) || program.starts_with(base) {
            found.push((pid, command));
        } else if let Ok(mounts) = fs::read_to_string(entry.path().join("mountinfo"))
            // Not a mere copy of the host's mounts, which the pause process of another test may have.
            && root_mount(&mounts) != own
            && mounts.contains(base)
        {
            found.push((pid, format!("{command} (in a container of the sandbox)")));
        }
    }
    found
}

/// What is mounted at `/`, without the numbers in front, which differ from namespace to namespace.
fn root_mount(table: &str) -> String {
    let mut lines = table.lines().map(|line| line.splitn(4, ' ').nth(3).unwrap_or_default());
    let root = lines.find(|line| line.split(' ').nth(1) == Some("/"));
    root.map(|line| line.split(" - ").last().unwrap_or_default().to_owned()).unwrap_or_default()
}

/// Mount points below the sandbox in a process's namespace, but for the store's mount of its own directory, the directory of
/// network namespaces that podman keeps, and [`Sandbox::in_memory`]'s.
fn mounts(base: &str, process: &str) -> Vec<String> {
    let mut kept = vec![format!("{base}/root/overlay"), format!("{base}/xdg/netns")];
    kept.extend(super::sandbox::VOLATILE.map(|name| format!("{base}/{name}")));
    mounts_below(base, process).into_iter().filter(|path| !kept.contains(path)).collect()
}

fn mounts_below(base: &str, process: &str) -> Vec<String> {
    let table = fs::read_to_string(format!("/proc/{process}/mountinfo")).unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    points.filter(|path| path.starts_with(base)).map(ToOwned::to_owned).collect()
}

/// Whatever is named by an ID; compiled seccomp filters are named by a digest, and kept.
fn of_containers(directory: &Path, depth: u32, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        // Compiled filters, named by what they were compiled from, and what is known of blobs: caches.
        if name == "seccomp" || name == "blobs" {
            continue;
        }
        if name.split(['.', '-']).any(store::is_id) {
            found.push(format!("of a container: {}", entry.path().display()));
        } else if name != "seccomp" && depth > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            of_containers(&entry.path(), depth - 1, found);
        }
    }
}
