//! Reading, forcing, listing and removing connections; logout.
