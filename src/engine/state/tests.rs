#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;
use crate::engine::spec::ContainerSpec;

fn sandbox() -> (tempfile::TempDir, State) {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(&dir.path().join("root"), &dir.path().join("run"));
    (dir, state)
}

fn id(n: u8) -> String {
    format!("{n:02x}").repeat(32)
}

fn spec(name: &str) -> ContainerSpec {
    ContainerSpec { name: name.into(), ..ContainerSpec::default() }
}

fn make(state: &State, n: u8, name: &str, remove: bool) -> Locked {
    let spec = ContainerSpec { remove, ..spec(name) };
    let locked = state.claim(&id(n), &spec, jiff::Timestamp::now()).unwrap();
    locked
        .publish(&ContainerState {
            head: Head::of(&spec),
            created: jiff::Timestamp::now(),
            ..Default::default()
        })
        .unwrap();
    locked
}

#[test]
fn a_published_container_is_found_by_id_name_and_prefix() {
    let (_dir, state) = sandbox();
    drop(make(&state, 0xab, "web", false));
    drop(make(&state, 0xac, "job", true));
    for text in ["web", "/web", "ab", "abab", &id(0xab)] {
        assert_eq!(state.resolve(text).unwrap(), id(0xab), "{text}");
    }
    assert_eq!(state.resolve("job").unwrap(), id(0xac));
    let ambiguous = state.resolve("a").unwrap_err();
    assert_eq!(ambiguous.kind(), ErrorKind::Conflict);
    for text in ["nope", "abb", "", "../containers", "WEB"] {
        let e = state.resolve(text).unwrap_err();
        assert_eq!(e.to_string(), format!("No such container: {text}"));
    }
    assert_eq!(state.list().unwrap().len(), 2);
    assert_eq!(state.load(&id(0xab)).unwrap().spec().unwrap().name, "web");
}

#[test]
fn a_name_is_unique_and_free_after_removal() {
    let (_dir, state) = sandbox();
    let first = make(&state, 1, "web", false);
    let e = state.claim(&id(2), &spec("web"), jiff::Timestamp::now()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Conflict);
    assert!(e.to_string().contains("is already in use"), "{e}");
    assert!(state.unfinished().unwrap().is_empty(), "a refused claim leaves nothing");
    first.discard().unwrap();
    drop(make(&state, 2, "web", true));
    assert!(state.lock(&id(1)).is_err());
}

#[test]
fn a_name_left_by_a_lost_run_root_is_taken_over() {
    let (dir, state) = sandbox();
    drop(make(&state, 1, "web", true));
    std::fs::remove_dir_all(dir.path().join("run")).unwrap();
    drop(make(&state, 2, "web", false));
    assert_eq!(state.resolve("web").unwrap(), id(2));
}

#[test]
fn an_interrupted_create_is_invisible_and_listed_as_unfinished() {
    let (_dir, state) = sandbox();
    drop(state.claim(&id(1), &spec("web"), jiff::Timestamp::now()).unwrap());
    assert!(state.list().unwrap().is_empty());
    assert_eq!(state.unfinished().unwrap(), [id(1)]);
    state.try_lock(&id(1)).unwrap().unwrap().discard().unwrap();
    assert!(state.name_holder("web").is_none());
    assert!(state.unfinished().unwrap().is_empty());
}

#[test]
fn names_follow_dockers_rule() {
    for good in ["a", "web-1", "A.b_c", "0"] {
        valid_name(good).unwrap();
    }
    for bad in ["", "-a", ".a", "a/b", "a b", "ü", "..", &"x".repeat(256)] {
        assert!(valid_name(bad).is_err(), "{bad}");
    }
}

fn running() -> ContainerState {
    ContainerState {
        status: Status::Running,
        boot_id: "boot".into(),
        pid: 10,
        pid_start: 1,
        conmon_pid: 9,
        conmon_start: 1,
        ..Default::default()
    }
}

#[test]
fn the_world_corrects_the_record() {
    let dir = tempfile::tempdir().unwrap();
    let none = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(id(1)), "3").unwrap();
    type Alive = fn(u32, u64) -> bool;
    let all: Alive = |_, _| true;
    let nobody: Alive = |_, _| false;
    let conmon: Alive = |pid, _| pid == 9;
    // (what, boot, exits, alive, expected status, expected code)
    let table: [(&str, &'static str, &Path, Alive, Status, i32); 6] = [
        ("runs", "boot", none.path(), all, Status::Running, 0),
        ("exit file", "boot", dir.path(), all, Status::Exited, 3),
        ("conmon about to write", "boot", none.path(), conmon, Status::Running, 0),
        ("conmon killed, then the process ended", "boot", none.path(), nobody, Status::Exited, EXIT_UNKNOWN),
        ("ended, conmon gone", "boot", dir.path(), nobody, Status::Exited, 3),
        ("rebooted", "another", none.path(), all, Status::Exited, EXIT_UNKNOWN),
    ];
    for (what, boot, exits, alive, status, code) in table {
        let mut state = running();
        observe::correct(&mut state, &id(1), || none.path().into(), &World::fake(boot, exits, alive));
        assert_eq!((state.status, state.exit_code), (status, code), "{what}");
    }
    let mut state = ContainerState { status: Status::Starting, ..running() };
    observe::correct(&mut state, &id(1), || none.path().into(), &World::fake("another", none.path(), all));
    assert_eq!(state.status, Status::Created);
}

#[test]
fn an_unreadable_state_is_rebuilt_from_the_spec() {
    let (_dir, state) = sandbox();
    let locked = make(&state, 1, "web", false);
    std::fs::write(locked.dir().join("state.json"), "").unwrap();
    let record = state.load(&id(1)).unwrap();
    assert_eq!((record.name(), record.state.status), ("web", Status::Exited));
}

#[test]
fn the_lock_excludes_and_a_removed_container_is_not_locked() {
    let (_dir, state) = sandbox();
    let held = make(&state, 1, "web", false);
    assert!(state.try_lock(&id(1)).unwrap().is_none());
    let waiter = {
        let state = state.clone();
        std::thread::spawn(move || state.lock(&id(1)).map(|_| ()))
    };
    std::thread::sleep(std::time::Duration::from_millis(20));
    held.discard().unwrap();
    assert_eq!(waiter.join().unwrap().unwrap_err().kind(), ErrorKind::NotFound);
}
