//! From what a user types to a full ID: ID, name, or unique beginning of an ID.

use super::{State, ids_in, is_id, no_such_container};
use crate::engine::{Error, ErrorKind, Result};

impl State {
    /// The full ID behind `text`: a full ID, a name (docker's leading slash is allowed), or the beginning of exactly
    /// one ID, in this order.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] `No such container: x`; [`ErrorKind::Conflict`] for a beginning of several.
    pub fn resolve(&self, text: &str) -> Result<String> {
        let name = text.strip_prefix('/').unwrap_or(text);
        if is_id(name) && self.place(name).is_some() {
            return Ok(name.to_owned());
        }
        if let Some(id) = self.name_holder(name).filter(|id| self.place(id).is_some()) {
            return Ok(id);
        }
        let hex = !name.is_empty() && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !hex {
            return Err(no_such_container(text));
        }
        let mut ids = ids_in(&self.persistent())?;
        ids.extend(ids_in(&self.ephemeral())?);
        ids.retain(|id| id.starts_with(name));
        match ids.len() {
            0 => Err(no_such_container(text)),
            1 => Ok(ids.swap_remove(0)),
            _ => Err(Error::new(
                ErrorKind::Conflict,
                format!("multiple IDs found with provided prefix: {text}"),
            )
            .with_hint("give more digits of the ID")),
        }
    }
}
