//! What is done with images: one verb a file.
