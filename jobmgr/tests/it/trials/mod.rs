//! Several processes on one database: some die, are cut off, have a wrong clock or a full disk. What the others make
//! of it is told by the database, the store, and a file in which each job writes down its start and its end.

/// A network that can be cut.
mod cell;
/// Workers with a wrong clock.
mod clocks;
/// Workers that die at a given place.
#[cfg(debug_assertions)]
mod crash_points;
/// Disks that are full for a while.
mod disks;
/// Workers that hang at a given place.
#[cfg(debug_assertions)]
mod hangs;
/// Processes that are cut off from the database.
mod network;
/// Jobs that kill their worker.
mod poison;
/// Who looks at jobs all the time.
#[cfg(debug_assertions)]
mod reader;
/// Processes and their database.
mod trial;
