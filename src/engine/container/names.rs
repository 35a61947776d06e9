//! Names for containers nobody named.

use crate::engine::Result;
use crate::engine::host::random;

const ADJECTIVES: &[&str] = &[
    "agile", "amber", "ample", "azure", "bold", "bonny", "brave", "breezy", "bright", "brisk", "calm",
    "candid", "careful", "cheerful", "chief", "civil", "clear", "clever", "coastal", "cosy", "crisp",
    "curious", "daring", "deft", "dewy", "eager", "early", "earnest", "easy", "even", "fair", "faithful",
    "fleet", "fluent", "fond", "frank", "free", "fresh", "gentle", "glad", "golden", "graceful", "grand",
    "handy", "happy", "hardy", "hazy", "hearty", "honest", "humble", "icy", "jaunty", "jolly", "keen",
    "kind", "late", "lean", "light", "lively", "loyal", "lucid", "lucky", "lunar", "mellow", "merry", "mild",
    "modest", "neat", "nimble", "noble", "northern", "open", "orderly", "patient", "placid", "plain",
    "plucky", "polite", "prompt", "proud", "quick", "quiet", "rapid", "ready", "rosy", "round", "royal",
    "rustic", "salty", "sandy", "serene", "sharp", "shiny", "silent", "silver", "simple", "sleek", "smart",
    "smooth", "snug", "sober", "solar", "solid", "southern", "spry", "stable", "stately", "steady", "still",
    "stout", "sturdy", "sunny", "supple", "sure", "swift", "tall", "tender", "tidal", "tidy", "trim", "true",
    "trusty", "upbeat", "urban", "vast", "vivid", "warm", "wary", "western", "willing", "windy", "wise",
    "witty", "woven", "young", "zesty",
];

const NOUNS: &[&str] = &[
    "anchor",
    "anvil",
    "badger",
    "barge",
    "basin",
    "bay",
    "beacon",
    "beaver",
    "bell",
    "birch",
    "bittern",
    "boathook",
    "bollard",
    "bosun",
    "breaker",
    "brook",
    "buoy",
    "cable",
    "canal",
    "canoe",
    "cape",
    "catkin",
    "cedar",
    "channel",
    "cliff",
    "cobble",
    "compass",
    "coot",
    "coracle",
    "cove",
    "crane",
    "creek",
    "crew",
    "curlew",
    "current",
    "deck",
    "delta",
    "dinghy",
    "dipper",
    "dock",
    "dory",
    "duck",
    "dune",
    "eddy",
    "eel",
    "egret",
    "elm",
    "estuary",
    "ferry",
    "fjord",
    "float",
    "ford",
    "galley",
    "gannet",
    "grebe",
    "gull",
    "harbour",
    "hazel",
    "helm",
    "heron",
    "hull",
    "inlet",
    "island",
    "jetty",
    "kayak",
    "keel",
    "ketch",
    "kingfisher",
    "lagoon",
    "lake",
    "lantern",
    "larch",
    "lighthouse",
    "lock",
    "loom",
    "lugger",
    "mallard",
    "marsh",
    "mast",
    "meadow",
    "minnow",
    "moor",
    "mooring",
    "mudlark",
    "oar",
    "osier",
    "osprey",
    "otter",
    "paddle",
    "pebble",
    "perch",
    "pier",
    "pike",
    "pilot",
    "plover",
    "pond",
    "port",
    "portage",
    "punt",
    "quay",
    "raft",
    "rapids",
    "reed",
    "reef",
    "ridge",
    "river",
    "rope",
    "rower",
    "rudder",
    "rush",
    "sail",
    "salmon",
    "sandbar",
    "schooner",
    "shallop",
    "shoal",
    "shore",
    "skiff",
    "sloop",
    "snipe",
    "sound",
    "spring",
    "stern",
    "stream",
    "swan",
    "teal",
    "tern",
    "thwart",
    "tide",
    "tiller",
    "trawler",
    "trout",
    "vole",
    "wader",
    "wake",
    "wave",
    "weir",
    "wharf",
    "wherry",
    "willow",
    "wren",
    "yawl",
];

/// `adjective_noun`; from the second `attempt` on with a number behind it, so that a full store finds one, too.
pub(super) fn generate(attempt: u32) -> Result<String> {
    let bytes = random::bytes::<6>()?;
    let pick = |words: &[&'static str], at: usize| {
        words[usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]])) % words.len()]
    };
    let name = format!("{}_{}", pick(ADJECTIVES, 0), pick(NOUNS, 2));
    Ok(match attempt {
        0 | 1 => name,
        _ => format!("{name}{}", u16::from_le_bytes([bytes[4], bytes[5]])),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::engine::state::valid_name;

    #[test]
    fn generated_names_are_valid() {
        for attempt in 0..20 {
            valid_name(&generate(attempt).unwrap()).unwrap();
        }
    }

    #[test]
    fn every_word_is_there_once() {
        for words in [ADJECTIVES, NOUNS] {
            let unique: std::collections::HashSet<_> = words.iter().collect();
            assert_eq!(unique.len(), words.len());
            assert!(words.iter().all(|w| w.bytes().all(|b| b.is_ascii_lowercase())));
        }
    }
}
