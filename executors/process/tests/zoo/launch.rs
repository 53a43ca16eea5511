//! This program as the one that becomes the job: what `jobmgr` does first in its `main`. The test harness has a `main`
//! of its own, so it is done before that.
#![allow(unsafe_code, reason = "a function that runs before main")]

// SAFETY: the loader calls the functions in this section with the program's arguments; std keeps them before it calls
// this one, and nothing here needs what a `main` would have set up.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = before_main;

extern "C" fn before_main() {
    jobmgr_executor_process::launch();
}
