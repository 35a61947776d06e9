//! Giving names to images and taking them away.

use super::lookup::find;
use super::told::tell;
use crate::engine::registry::Reference;
use crate::engine::registry::reference::ShortName;
use crate::engine::{Engine, Error, Result};

/// The full name a new tag gets: docker's normalisation if the name has a registry, else podman's `localhost/`… for
/// images made here. `docker tag x y` and `podman tag x y` differ there: docker's `y` is `docker.io/library/y`, podman's
/// `localhost/y`. Both are found again by `y`; podman's is what other tools of the store show.
pub fn new_name(name: &str) -> Result<Reference> {
    let reference = match ShortName::parse(name)? {
        Some(short) => short.within(&format!("localhost/{}", short.name))?,
        None => Reference::parse(name)?,
    };
    if reference.digest().is_some() {
        return Err(Error::invalid(format!("refusing to create a tag with a digest reference: {name}")));
    }
    Ok(reference.or_latest())
}

/// Adds names to the image; an image that had one of them loses it.
pub fn tag(engine: &Engine, image: &str, names: &[String]) -> Result<()> {
    let found = find(engine, image)?;
    let names = names.iter().map(|n| new_name(n).map(|r| r.to_string())).collect::<Result<Vec<_>>>()?;
    engine.store.add_image_names(&found.image.id, &names)?;
    names.iter().for_each(|name| tell(engine, "tag", &found.image.id, name));
    Ok(())
}

/// Takes names away; all of them if none is given.
///
/// `NotFound` if the image has no such name.
pub fn untag(engine: &Engine, image: &str, names: &[String]) -> Result<()> {
    let found = find(engine, image)?;
    let record = &found.image;
    let remove = match names {
        [] => record.names.clone(),
        names => names.iter().map(|name| existing_name(&record.names, name)).collect::<Result<_>>()?,
    };
    engine.store.remove_image_names(&record.id, &remove)?;
    remove.iter().for_each(|name| tell(engine, "untag", &record.id, name));
    Ok(())
}

/// Which of an image's names is meant: as typed in full, in `localhost/`, or in `docker.io/`.
fn existing_name(names: &[String], typed: &str) -> Result<String> {
    let local = new_name(typed).map(|r| r.to_string());
    let docker = Reference::parse(typed)?.or_latest().to_string();
    let has = |name: &String| names.contains(name);
    match local {
        Ok(local) if has(&local) => Ok(local),
        _ if has(&docker) => Ok(docker),
        _ => Err(Error::not_found(format!("{docker}: tag not known"))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_local() {
        assert_eq!(new_name("app").unwrap().to_string(), "localhost/app:latest");
        assert_eq!(new_name("lab/app:1").unwrap().to_string(), "localhost/lab/app:1");
        assert_eq!(new_name("docker.io/app").unwrap().to_string(), "docker.io/library/app:latest");
        assert!(new_name(&format!("app@sha256:{}", "a".repeat(64))).is_err());
        assert!(new_name("App").is_err());
    }

    #[test]
    fn a_name_is_taken_away_however_it_is_typed() {
        let names = ["localhost/a:latest".to_owned(), "docker.io/library/b:1".to_owned()];
        assert_eq!(existing_name(&names, "a").unwrap(), names[0]);
        assert_eq!(existing_name(&names, "b:1").unwrap(), names[1]);
        assert!(existing_name(&names, "c").is_err());
    }
}
