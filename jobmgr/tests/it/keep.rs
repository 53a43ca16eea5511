//! Retention, the sweep of the store, `jobmgr gc` and `jobmgr backup`, by the real binary.
