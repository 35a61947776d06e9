//! What images, containers and volumes take on the disk, and how much of it nobody needs.

use super::volumes::volume_users;
use crate::engine::state::Record;
use crate::engine::store::{ImageRecord, LayerRecord};
use crate::engine::volume::{Volume, Volumes};
use crate::engine::{Engine, Result};
use std::collections::{BTreeMap, HashMap};

/// The whole.
#[derive(Debug, Default)]
pub struct Usage {
    /// Images.
    pub images: Vec<ImageUsage>,
    /// Bytes of all images' layers, each counted once.
    pub image_bytes: u64,
    /// Bytes that would be free without the images that no container uses.
    pub image_reclaimable: u64,
    /// Containers.
    pub containers: Vec<ContainerUsage>,
    /// Volumes.
    pub volumes: Vec<VolumeUsage>,
}

/// An image's share.
#[derive(Debug)]
pub struct ImageUsage {
    /// The image.
    pub image: ImageRecord,
    /// Bytes of its layers.
    pub size: u64,
    /// Bytes of those that other images have, too.
    pub shared: u64,
    /// How many containers use it.
    pub containers: usize,
}

/// A container's share.
#[derive(Debug)]
pub struct ContainerUsage {
    /// The container.
    pub record: Record,
    /// Bytes that it wrote.
    pub size: u64,
    /// How many volumes it has.
    pub volumes: usize,
}

/// A volume's share.
#[derive(Debug)]
pub struct VolumeUsage {
    /// The volume.
    pub volume: Volume,
    /// Bytes of its files.
    pub size: u64,
    /// How many containers have it.
    pub links: usize,
}

/// Counts. Directories are walked: it takes its time.
///
/// # Errors
/// Store, records or volumes cannot be read.
pub fn usage(engine: &Engine) -> Result<Usage> {
    let mut usage = Usage::default();
    let records = engine.state.list()?;
    let mut users: HashMap<String, usize> = HashMap::new();
    for container in engine.store.containers()? {
        *users.entry(container.image).or_default() += 1;
    }
    images(engine, &users, &mut usage)?;
    let links = volume_users(engine)?;
    for record in records {
        let volumes = links.values().filter(|users| users.iter().any(|u| u.id == record.id)).count();
        // One that is removed meanwhile takes nothing.
        let size = engine.store.container_rw_size(&record.id).unwrap_or(0);
        usage.containers.push(ContainerUsage { record, size, volumes });
    }
    let volumes = Volumes::open(&engine.config);
    for volume in volumes.list()? {
        let size = volumes.size(&volume).unwrap_or(0);
        let links = links.get(&volume.name).map_or(0, Vec::len);
        usage.volumes.push(VolumeUsage { volume, size, links });
    }
    Ok(usage)
}

fn images(engine: &Engine, users: &HashMap<String, usize>, usage: &mut Usage) -> Result<()> {
    let layers: HashMap<String, LayerRecord> =
        engine.store.layers()?.into_iter().map(|layer| (layer.id.clone(), layer)).collect();
    let images = engine.store.images()?;
    let chain = |image: &ImageRecord| -> Vec<String> {
        let mut ids = Vec::new();
        let mut next = image.top_layer.clone();
        while let Some(layer) = next.take().and_then(|id| layers.get(&id)) {
            ids.push(layer.id.clone());
            next.clone_from(&layer.parent);
        }
        ids
    };
    let chains: Vec<Vec<String>> = images.iter().map(chain).collect();
    // How many images, and how many of those in use, stand on each layer.
    let mut on: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (image, chain) in images.iter().zip(&chains) {
        let used = usize::from(users.contains_key(&image.id));
        for id in chain {
            let count = on.entry(id).or_default();
            count.0 += 1;
            count.1 += used;
        }
    }
    let mut sizes: HashMap<&str, u64> = HashMap::new();
    for id in on.keys() {
        let recorded = layers.get(*id).and_then(|l| u64::try_from(l.diff_size).ok()).filter(|size| *size > 0);
        let size = match recorded {
            Some(size) => size,
            None => engine.store.layer_size(id)?,
        };
        sizes.insert(id, size);
    }
    for (id, (_, used)) in &on {
        usage.image_bytes += sizes[id];
        if *used == 0 {
            usage.image_reclaimable += sizes[id];
        }
    }
    for (image, chain) in images.iter().zip(&chains) {
        let sum = |wanted: &dyn Fn(&str) -> bool| -> u64 {
            chain.iter().filter(|id| wanted(id)).map(|id| sizes[id.as_str()]).sum()
        };
        usage.images.push(ImageUsage {
            image: image.clone(),
            size: sum(&|_| true),
            shared: sum(&|id| on[id].0 > 1),
            containers: users.get(&image.id).copied().unwrap_or(0),
        });
    }
    Ok(())
}
