//! What a front end tells the engine about its caller.
