//! The machine that this process runs on.

/// Its GPUs.
mod gpus;

pub use gpus::gpus;

/// Its name, as other machines may know it.
#[cfg(windows)]
pub fn name() -> Option<String> {
    std::env::var("COMPUTERNAME").ok()
}

/// Its name, as other machines may know it.
#[cfg(not(windows))]
pub fn name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned())
}

/// What every machine has of itself, for jobspecs that require it: `os=linux`, `arch=x86_64`, `host=NAME`.
pub fn labels() -> Vec<String> {
    let mut labels = vec![format!("os={}", std::env::consts::OS), format!("arch={}", std::env::consts::ARCH)];
    labels.extend(name().map(|name| format!("host={name}")));
    labels
}
