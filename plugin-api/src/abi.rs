//! The binary interface, version 1: the same as `include/jobmgr_executor.h`, which has the words. Tables only grow at
//! their ends; what was shipped never changes its place or its meaning.

use core::ffi::c_void;
use core::mem::{offset_of, size_of};

/// The first field of every table.
pub const MAGIC: u64 = u64::from_le_bytes(*b"JOBMGRX1");
/// Rises with the name of the symbol.
pub const MAJOR: u16 = 1;
/// Rises with every field that is appended.
pub const MINOR: u16 = 0;
/// The only symbol that a library has to export.
pub const ENTRY: &str = "jobmgr_executor_v1";

/// Borrowed bytes; a null pointer is the empty string.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Bytes {
    /// Where they begin.
    pub ptr: *const u8,
    /// How many they are.
    pub len: usize,
}

impl Bytes {
    /// Lends `bytes` for one call.
    pub fn new(bytes: &[u8]) -> Self {
        Self { ptr: bytes.as_ptr(), len: bytes.len() }
    }

    /// What was lent.
    ///
    /// # Safety
    /// The pointer is null, or `len` bytes may be read there for as long as `'a`.
    #[allow(unsafe_code)]
    pub unsafe fn get<'a>(self) -> &'a [u8] {
        if self.ptr.is_null() {
            return &[];
        }
        // SAFETY: the caller says so.
        unsafe { core::slice::from_raw_parts(self.ptr, self.len) }
    }
}

/// Statuses. Integers, so that an unknown one stays defined: it is [`FAILED`](status::FAILED).
pub mod status {
    /// Done.
    pub const OK: i32 = 0;
    /// The options, the command or the configuration are wrong.
    pub const INVALID: i32 = 1;
    /// The executor could not do it.
    pub const FAILED: i32 = 2;
    /// The executor could not do it now.
    pub const RETRY: i32 = 3;
    /// There is no such function or method.
    pub const UNSUPPORTED: i32 = 4;
    /// It ended because a stop was asked for.
    pub const STOPPED: i32 = 5;
    /// A programming error was caught.
    pub const PANICKED: i32 = 6;
    /// `recover`: the job can't be found any more.
    pub const LOST: i32 = 7;
    /// `recover`: the job has surely never begun.
    pub const NEVER_STARTED: i32 = 8;
    /// A process of the job is still on this machine, whatever was done to end it.
    pub const UNKILLABLE: i32 = 9;
}

/// `recover` is there.
pub const CAP_RECOVER: u64 = 1 << 0;
/// `cleanup` is there.
pub const CAP_CLEANUP: u64 = 1 << 1;
/// `run` and `recover` may be called for several jobs at once.
pub const CAP_CONCURRENT: u64 = 1 << 2;

/// One call into a library. What follows belongs to the host.
#[repr(C)]
pub struct Call {
    /// What the host does.
    pub host: *const HostTable,
}

/// What is called when a stop is asked for.
pub type OnStop = unsafe extern "C" fn(user: *mut c_void, stop: u32);
/// What takes an answer.
pub type OnReply = unsafe extern "C" fn(user: *mut c_void, json: Bytes);

/// What the host does for an executor.
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(missing_docs, reason = "the header has the words")]
pub struct HostTable {
    pub struct_size: u32,
    pub abi_major: u16,
    pub abi_minor: u16,
    pub reply: Option<unsafe extern "C" fn(*mut Call, Bytes)>,
    pub log: Option<unsafe extern "C" fn(*mut Call, u32, u64, Bytes) -> i32>,
    pub event: Option<unsafe extern "C" fn(*mut Call, Bytes) -> i32>,
    pub checkpoint: Option<unsafe extern "C" fn(*mut Call, Bytes) -> i32>,
    pub wait_stop: Option<unsafe extern "C" fn(*mut Call, u64) -> u32>,
    pub on_stop: Option<unsafe extern "C" fn(*mut Call, Option<OnStop>, *mut c_void)>,
    pub request: Option<unsafe extern "C" fn(*mut Call, Bytes, Bytes, Option<OnReply>, *mut c_void) -> i32>,
}

/// Of `describe`.
pub type Describe = unsafe extern "C" fn(*mut Call) -> i32;
/// Of `create`.
pub type Create = unsafe extern "C" fn(*mut Call, Bytes, *mut *mut c_void) -> i32;
/// Of `destroy`.
pub type Destroy = unsafe extern "C" fn(*mut c_void);
/// Of `validate` and `run`.
pub type WithText = unsafe extern "C" fn(*mut c_void, *mut Call, Bytes) -> i32;
/// Of `recover` and `cleanup`.
pub type WithHandle = unsafe extern "C" fn(*mut c_void, *mut Call, Bytes, Bytes) -> i32;

/// What an executor is.
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(missing_docs, reason = "the header has the words")]
pub struct Plugin {
    pub magic: u64,
    pub struct_size: u32,
    pub abi_major: u16,
    pub abi_minor: u16,
    pub min_host_minor: u16,
    pub reserved0: u16,
    pub reserved1: u32,
    pub capabilities: u64,
    pub describe: Option<Describe>,
    pub create: Option<Create>,
    pub destroy: Option<Destroy>,
    pub validate: Option<WithText>,
    pub run: Option<WithText>,
    pub recover: Option<WithHandle>,
    pub cleanup: Option<WithHandle>,
}

/// The symbol's type.
pub type Entry = unsafe extern "C" fn() -> *const Plugin;

/// The size of a plugin's table that was shipped first; what is smaller is none.
pub const PLUGIN_1_0: usize = offset_of!(Plugin, cleanup) + size_of::<usize>();
/// The size of the host's table that was shipped first.
pub const HOST_1_0: usize = offset_of!(HostTable, request) + size_of::<usize>();

// These places were shipped. A change here breaks every executor in the world.
#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(PLUGIN_1_0 == 88 && HOST_1_0 == 64);
    assert!(offset_of!(Plugin, magic) == 0 && offset_of!(Plugin, struct_size) == 8);
    assert!(offset_of!(Plugin, abi_major) == 12 && offset_of!(Plugin, abi_minor) == 14);
    assert!(offset_of!(Plugin, min_host_minor) == 16 && offset_of!(Plugin, reserved0) == 18);
    assert!(offset_of!(Plugin, reserved1) == 20 && offset_of!(Plugin, capabilities) == 24);
    assert!(offset_of!(Plugin, describe) == 32 && offset_of!(Plugin, create) == 40);
    assert!(offset_of!(Plugin, destroy) == 48 && offset_of!(Plugin, validate) == 56);
    assert!(offset_of!(Plugin, run) == 64 && offset_of!(Plugin, recover) == 72 && offset_of!(Plugin, cleanup) == 80);
    assert!(offset_of!(HostTable, struct_size) == 0 && offset_of!(HostTable, abi_major) == 4);
    assert!(offset_of!(HostTable, abi_minor) == 6 && offset_of!(HostTable, reply) == 8);
    assert!(offset_of!(HostTable, log) == 16 && offset_of!(HostTable, event) == 24);
    assert!(offset_of!(HostTable, checkpoint) == 32 && offset_of!(HostTable, wait_stop) == 40);
    assert!(offset_of!(HostTable, on_stop) == 48 && offset_of!(HostTable, request) == 56);
};
