//! The executor `process` as a library that jobmgr opens.
//!
//! It is a crate of its own because the executor is part of the program `jobmgr` too, which exports nothing: who links
//! the executor gets no `jobmgr_executor_v1` with it.

jobmgr_plugin_api::export_executor!(jobmgr_executor_process::Process);
