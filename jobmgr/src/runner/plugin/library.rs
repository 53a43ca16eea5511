#![allow(unsafe_code)]

use std::error::Error;
use std::path::Path;

use jobmgr_plugin_api::abi;
use jobmgr_plugin_api::loaded::Library;

/// Opens the library at an absolute path, and never closes it.
///
/// # Errors
/// One line that names the file.
pub(super) fn open(path: &Path) -> Result<Library, String> {
    let shown = path.file_name().map_or_else(|| path.display().to_string(), |name| name.display().to_string());
    let failed = |why: String| format!("{shown}: {why}");
    // SAFETY: its constructors run in this process, which exists for that.
    let library = unsafe { platform::open(path) }.map_err(|error| {
        let why = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        failed(format!("cannot be loaded: {}", why.replace(&path.display().to_string(), &shown)))
    })?;
    // Its threads and its thread-locals outlive every reason to close it.
    let library = Box::leak(Box::new(library));
    // SAFETY: the symbol has this type in every library that has it.
    let entry = unsafe { library.get::<abi::Entry>(abi::ENTRY.as_bytes()) };
    let Ok(entry) = entry else {
        // SAFETY: only whether it is there is looked at.
        let newer = (2..=9)
            .find(|major| unsafe { library.get::<abi::Entry>(format!("jobmgr_executor_v{major}").as_bytes()).is_ok() });
        return Err(failed(match newer {
            Some(major) => {
                format!("made for plugin ABI {major}; this jobmgr speaks ABI {}: a newer jobmgr is needed", abi::MAJOR)
            }
            None => format!("not a jobmgr executor: it does not export {}", abi::ENTRY),
        }));
    };
    // SAFETY: it is that symbol, and the library is never closed.
    unsafe { Library::open(*entry) }.map_err(failed)
}

#[cfg(unix)]
mod platform {
    use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

    /// Everything that the library lacks is found out now, not in the middle of a job.
    pub(super) unsafe fn open(path: &std::path::Path) -> Result<Library, libloading::Error> {
        // SAFETY: the caller wants its constructors to run.
        unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }
    }
}

#[cfg(windows)]
mod platform {
    use libloading::os::windows::{LOAD_LIBRARY_SEARCH_DEFAULT_DIRS, LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR, Library};

    /// What it needs is looked for beside it and among the system's.
    pub(super) unsafe fn open(path: &std::path::Path) -> Result<Library, libloading::Error> {
        // The search flags don't know the long form of a path.
        let shown = path.display().to_string();
        let plain = shown.strip_prefix(r"\\?\").unwrap_or(&shown);
        // SAFETY: the caller wants its constructors to run.
        unsafe { Library::load_with_flags(plain, LOAD_LIBRARY_SEARCH_DEFAULT_DIRS | LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR) }
    }
}
