//! What cgroups this host offers, and where a container's can be made.
