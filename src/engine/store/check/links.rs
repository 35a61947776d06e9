//! The short links of overlay, `l/<26 letters>`, and the files `link` and `lower` that name them. All of it follows from the
//! directories and from who stands on whom.

use super::{Look, Subject};
use crate::engine::store::layout::Driver;
use crate::engine::store::overlay::{make_link, valid_link, write_small};
use crate::engine::store::{LayerRecord, file};
use crate::engine::{Error, Result};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The links of one home directory.
struct Home {
    path: PathBuf,
    /// Link -> the layer it leads to, if it leads to one.
    links: HashMap<String, Option<String>>,
}

impl Home {
    fn read(path: &Path) -> Result<Self> {
        let directory = path.join("l");
        let mut links = HashMap::new();
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self { path: path.to_owned(), links });
            }
            Err(e) => return Err(Error::io("read", &directory, e)),
        };
        for entry in entries.flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            links.insert(name, fs::read_link(entry.path()).ok().and_then(|target| layer_of(&target)));
        }
        Ok(Self { path: path.to_owned(), links })
    }

    /// The link that a layer should have: the one its file names, else one that leads to it.
    fn link_of(&self, id: &str) -> Option<String> {
        let text = fs::read_to_string(self.path.join(id).join("link")).unwrap_or_default();
        let named = text.trim();
        let taken = self
            .links
            .get(named)
            .is_some_and(|other| other.as_ref().is_some_and(|other| other != id && self.names(other, named)));
        if valid_link(named) && !taken {
            return Some(named.to_owned());
        }
        let mut leading: Vec<&String> =
            self.links.iter().filter(|(_, to)| to.as_deref() == Some(id)).map(|(name, _)| name).collect();
        leading.sort();
        leading.first().map(|name| (*name).clone())
    }

    /// Whether a layer's file names this link.
    fn names(&self, id: &str, link: &str) -> bool {
        fs::read_to_string(self.path.join(id).join("link")).is_ok_and(|text| text.trim() == link)
    }
}

/// `../<layer>/diff`.
fn layer_of(target: &Path) -> Option<String> {
    let parts: Vec<_> = target.iter().filter_map(|part| part.to_str()).collect();
    match parts[..] {
        ["..", id, "diff"] => Some(id.to_owned()),
        _ => None,
    }
}

impl Look<'_, '_> {
    pub(super) fn links(&mut self) -> Result<()> {
        let store = self.store;
        if store.driver == Driver::Vfs {
            return Ok(());
        }
        let mut homes = vec![Home::read(&store.layout.home)?];
        if store.layout.image_home != store.layout.home {
            homes.push(Home::read(&store.layout.image_home)?);
        }
        let mut right: HashMap<String, String> = HashMap::new();
        for layer in &self.tables.layers {
            let Some(home) = homes.iter().find(|home| home.path.join(&layer.id).is_dir()) else { continue };
            match home.link_of(&layer.id) {
                Some(link) => {
                    if self.link(home, layer, &link) {
                        right.insert(layer.id.clone(), link);
                    }
                }
                None => self.no_link(home, layer),
            }
        }
        for layer in &self.tables.layers {
            if let Some(home) = homes.iter().find(|home| home.path.join(&layer.id).is_dir()) {
                self.lower(home, layer, &right);
            }
        }
        for home in &homes {
            self.stray_links(home, &right);
        }
        Ok(())
    }

    /// Whether `link` file and link agree.
    fn link(&mut self, home: &Home, layer: &LayerRecord, link: &str) -> bool {
        let named = home.names(&layer.id, link);
        let leads = home.links.get(link).cloned().flatten();
        if named && leads.as_deref() == Some(&layer.id) {
            return true;
        }
        let text = match (named, leads) {
            (false, _) => "has a `link` file that is missing or wrong".to_owned(),
            (_, None) => format!("has no link l/{link}"),
            (_, Some(other)) => format!("has a link l/{link} that leads to layer {other}"),
        };
        let (path, id, link) = (home.path.clone(), layer.id.clone(), link.to_owned());
        let mend = move |_: &super::Bench<'_>| {
            file::remove_file(&path.join("l").join(&link))?;
            make_link(&path, &id, &link)?;
            write_small(&path.join(&id).join("link"), link.as_bytes())
        };
        self.found(Subject::Layer(layer.id.clone()), text, Box::new(mend));
        false
    }

    fn no_link(&mut self, home: &Home, layer: &LayerRecord) {
        let (path, id) = (home.path.clone(), layer.id.clone());
        let mend = move |_: &super::Bench<'_>| {
            let link = super::super::random_link()?;
            make_link(&path, &id, &link)?;
            write_small(&path.join(&id).join("link"), link.as_bytes())
        };
        self.found(Subject::Layer(layer.id.clone()), "has no link, and no `link` file", Box::new(mend));
    }

    /// `lower` names the links of all layers below, the uppermost first.
    fn lower(&mut self, home: &Home, layer: &LayerRecord, right: &HashMap<String, String>) {
        let chain = self.tables.chain(&layer.id);
        let complete = chain.last().is_some_and(|bottom| bottom.parent.is_none());
        // Those of a read-only store are that store's; a link to be made again comes first.
        let links: Option<Vec<String>> =
            chain.iter().skip(1).map(|below| right.get(&below.id).map(|link| format!("l/{link}"))).collect();
        let (Some(links), true) = (links, complete) else { return };
        let wanted = links.join(":");
        let path = home.path.join(&layer.id).join("lower");
        let found = fs::read_to_string(&path).unwrap_or_default();
        if found.trim() == wanted {
            return;
        }
        let text = "has a `lower` file that does not name the layers below it";
        let mend = move |_: &super::Bench<'_>| write_small(&path, wanted.as_bytes());
        self.found(Subject::Layer(layer.id.clone()), text, Box::new(mend));
    }

    /// Links that belong to no layer.
    fn stray_links(&mut self, home: &Home, right: &HashMap<String, String>) {
        for (name, to) in &home.links {
            let layer = to.as_ref().and_then(|id| self.tables.layers.iter().find(|l| l.id == *id));
            // What is wrong with a layer's own link was said, and is repaired first.
            if layer.is_some_and(|layer| right.get(&layer.id).is_none_or(|link| link == name)) {
                continue;
            }
            let path = home.path.join("l").join(name);
            // An orphaned directory is looked at as a whole.
            if layer.is_none() && to.as_ref().is_some_and(|id| home.path.join(id).exists()) {
                continue;
            }
            let text = if layer.is_some() { "is one link too many" } else { "leads to no layer" };
            let subject = Subject::File(path.clone());
            self.found(subject, text, Box::new(move |_| file::remove_file(&path)));
        }
    }
}
