//! `coracle image tree`.

use super::mount::repo_tags;
use crate::cmd::format::human;
use crate::cmd::{Context, Exit};
use crate::engine::Result;
use crate::engine::image::find;
use crate::engine::store::{ImageRecord, LayerRecord};
use clap::Args;
use std::collections::HashMap;

/// Significant digits of a size.
const DIGITS: usize = 4;

/// Show an image's layers as a tree
#[derive(Args, Clone, Debug)]
pub struct TreeArgs {
    /// Show the layers and images that stand on it instead
    #[arg(long)]
    whatrequires: bool,
    /// Name or ID
    #[arg(value_name = "IMAGE")]
    image: String,
}

/// Draws the tree.
pub fn run(cx: &Context, args: TreeArgs) -> Result<Exit> {
    let engine = cx.engine()?;
    let image = find(engine, &args.image)?.image;
    let layers = engine.store.layers()?;
    let images = engine.store.images()?;
    let sizes = layers.iter().map(|layer| Ok((layer.id.as_str(), engine.store.layer_size(&layer.id)?)));
    let drawing = Drawing { layers: &layers, images: &images, sizes: sizes.collect::<Result<_>>()? };
    let top = image.top_layer.as_deref().and_then(|id| layers.iter().find(|layer| layer.id == id));
    let mut tree = Tree::new(format!(
        "Image ID: {}\nTags:     {}\nSize:     {}\n{}",
        human::short_id(&image.id),
        list(&repo_tags(&image)),
        human::size_with(engine.store.image_size(&image.id)?, DIGITS),
        if image.top_layer.is_some() { "Image Layers" } else { "No Image Layers" },
    ));
    match top {
        Some(top) if args.whatrequires => drawing.above(top, &mut tree),
        top => drawing.below(top, &mut tree),
    }
    let mut text = String::new();
    tree.draw(&mut text);
    cx.println(text)?;
    Ok(Exit::OK)
}

struct Drawing<'a> {
    layers: &'a [LayerRecord],
    images: &'a [ImageRecord],
    sizes: HashMap<&'a str, u64>,
}

impl<'a> Drawing<'a> {
    /// The layer and those it stands on, the lowest first.
    fn below(&self, top: Option<&'a LayerRecord>, tree: &mut Tree) {
        let mut next = top;
        while let Some(layer) = next {
            tree.children.insert(0, Tree::new(self.line(layer)));
            let parent = layer.parent.as_deref();
            next = self
                .layers
                .iter()
                .find(|l| Some(l.id.as_str()) == parent && tree.children.len() < self.layers.len());
        }
    }

    /// The layer and those that stand on it: in a line, and where there are several, as branches.
    fn above(&self, layer: &'a LayerRecord, tree: &mut Tree) {
        let siblings = match layer.parent.as_deref() {
            Some(parent) => self.on(parent).count(),
            None => 0,
        };
        tree.children.push(Tree::new(self.line(layer)));
        let branch = match tree.children.last_mut() {
            Some(branch) if siblings > 1 => branch,
            _ => tree,
        };
        for child in self.on(&layer.id) {
            self.above(child, branch);
        }
    }

    fn on(&self, id: &str) -> impl Iterator<Item = &'a LayerRecord> {
        self.layers.iter().filter(move |layer| layer.parent.as_deref() == Some(id))
    }

    fn line(&self, layer: &LayerRecord) -> String {
        let size = human::size_with(self.sizes.get(layer.id.as_str()).copied().unwrap_or(0), DIGITS);
        let mut tags: Vec<String> = Vec::new();
        for image in self.images.iter().filter(|i| i.top_layer.as_deref() == Some(&layer.id)) {
            tags.extend(repo_tags(image));
        }
        let tops = if tags.is_empty() { String::new() } else { format!(" Top Layer of: {}", list(&tags)) };
        format!("ID: {} Size: {size:>7}{tops}", human::short_id(&layer.id))
    }
}

/// As Go prints a list.
fn list(words: &[String]) -> String {
    format!("[{}]", words.join(" "))
}

struct Tree {
    text: String,
    children: Vec<Tree>,
}

impl Tree {
    fn new(text: String) -> Self {
        Self { text, children: Vec::new() }
    }

    fn draw(&self, out: &mut String) {
        out.push_str(&self.text);
        out.push('\n');
        self.draw_children("", out);
    }

    fn draw_children(&self, indent: &str, out: &mut String) {
        for (at, child) in self.children.iter().enumerate() {
            let last = at + 1 == self.children.len();
            let (mark, below) = if last { ("└── ", "    ") } else { ("├── ", "│   ") };
            out.push_str(&format!("{indent}{mark}{}\n", child.text));
            child.draw_children(&format!("{indent}{below}"), out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_are_drawn_as_podman_draws_them() {
        let leaf = |text: &str| Tree::new(text.to_owned());
        let inner = Tree { text: "b".into(), children: vec![leaf("c"), leaf("d")] };
        let tree = Tree { text: "x\na".into(), children: vec![inner, leaf("e")] };
        let mut text = String::new();
        tree.draw(&mut text);
        assert_eq!(text, "x\na\n├── b\n│   ├── c\n│   └── d\n└── e\n");
    }
}
