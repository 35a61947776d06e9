//! What CDI adds, as parts of an OCI runtime configuration.

use super::{CdiHook, CdiRdt, Edits};
use oci_spec::runtime::{Hook, Hooks, LinuxIntelRdt, Mount};
use std::path::PathBuf;

pub(super) const HOOKS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// Entries take the place of others of their name: they are what the device needs.
pub(crate) fn environment(edits: &Edits, env: &mut Vec<String>) {
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    for entry in &edits.env {
        match env.iter_mut().find(|e| name(e) == name(entry)) {
            Some(old) => old.clone_from(entry),
            None => env.push(entry.clone()),
        }
    }
}

pub(crate) fn mounts(edits: &Edits) -> impl Iterator<Item = Mount> {
    edits.mounts.iter().map(|mount| {
        let options = Some(mount.options.clone()).filter(|options| !options.is_empty());
        let binds = mount.options.iter().any(|o| o == "bind" || o == "rbind");
        let kind = mount.kind.clone().filter(|kind| !kind.is_empty());
        let mut out = Mount::default();
        out.set_destination(PathBuf::from(&mount.container_path))
            .set_typ(kind.or_else(|| binds.then(|| "bind".to_owned())))
            .set_source(Some(PathBuf::from(&mount.host_path)))
            .set_options(options);
        out
    })
}

/// `None`: there are none.
pub(crate) fn hooks(edits: &Edits) -> Option<Hooks> {
    let of = |name: &str| {
        let list: Vec<Hook> = edits.hooks.iter().filter(|hook| hook.hook_name == name).map(hook).collect();
        Some(list).filter(|list| !list.is_empty())
    };
    let mut hooks = Hooks::default();
    #[allow(deprecated, reason = "vendors still use prestart")]
    hooks
        .set_prestart(of("prestart"))
        .set_create_runtime(of("createRuntime"))
        .set_create_container(of("createContainer"))
        .set_start_container(of("startContainer"))
        .set_poststart(of("poststart"))
        .set_poststop(of("poststop"));
    (!edits.hooks.is_empty()).then_some(hooks)
}

fn hook(asked: &CdiHook) -> Hook {
    let some = |words: &[String]| Some(words.to_vec()).filter(|words| !words.is_empty());
    let mut hook = Hook::default();
    hook.set_path(asked.path.clone())
        .set_args(some(&asked.args))
        .set_env(some(&asked.env))
        .set_timeout(asked.timeout);
    hook
}

/// What `--rdt-class` says comes before the devices' wishes.
pub(crate) fn intel_rdt(edits: &Edits, class: &str) -> Option<LinuxIntelRdt> {
    if edits.intel_rdt.is_none() && class.is_empty() {
        return None;
    }
    let CdiRdt {
        class: devices_class,
        l3_cache_schema,
        memory_bandwidth_schema,
        schemata,
        cache_monitoring,
        bandwidth_monitoring,
        monitoring,
    } = edits.intel_rdt.clone().unwrap_or_default();
    let class = Some(class.to_owned()).filter(|class| !class.is_empty()).or(devices_class);
    let mut rdt = LinuxIntelRdt::default();
    rdt.set_clos_id(class)
        .set_l3_cache_schema(l3_cache_schema)
        .set_mem_bw_schema(memory_bandwidth_schema)
        .set_schemata(schemata)
        // One switch since runtime-spec 1.3, which also names the older two otherwise than runtimes do.
        .set_enable_monitoring(monitoring.or(cache_monitoring).or(bandwidth_monitoring));
    Some(rdt)
}
