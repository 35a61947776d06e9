//! Images from registries: pull in all its ways, what is stored of them, rmi, tag, untag, prune.
