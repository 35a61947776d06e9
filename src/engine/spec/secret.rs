//! Secrets that a container is given.

use serde::{Deserialize, Serialize};

/// One `--secret`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SecretUse {
    /// The secret, as asked for; its name once the container is made.
    pub name: String,
    /// Its ID; empty until the container is made.
    pub id: String,
    /// Where it is to be seen.
    pub place: SecretPlace,
}

/// Where a container sees a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretPlace {
    /// In a file.
    File {
        /// Path in the container; a bare name is below /run/secrets, empty: the secret's name.
        target: String,
        /// The container's user ID that owns it.
        uid: u32,
        /// The group's.
        gid: u32,
        /// Permission bits.
        mode: u32,
    },
    /// In this variable of the environment; empty: named as the secret is.
    Environment(String),
}

impl Default for SecretPlace {
    fn default() -> Self {
        Self::File { target: String::new(), uid: 0, gid: 0, mode: 0o444 }
    }
}

impl SecretUse {
    /// The absolute path of the file in the container; `None`: it is in the environment.
    pub fn path(&self) -> Option<String> {
        match &self.place {
            SecretPlace::File { target, .. } if target.starts_with('/') => Some(target.clone()),
            SecretPlace::File { target, .. } => {
                Some(format!("/run/secrets/{}", if target.is_empty() { &self.name } else { target }))
            }
            SecretPlace::Environment(_) => None,
        }
    }
}
