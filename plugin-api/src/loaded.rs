use std::ffi::c_void;
use std::mem::offset_of;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::abi::{self, Bytes, Call, HostTable, Plugin, status};
use crate::{Ending, Error, Event, Host, Kind, MAX_HANDLE, Outcome, Result, Stop, Stream};

/// A library's table that this jobmgr can work with.
pub struct Library {
    table: Plugin,
}

/// What an executor says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Description {
    /// The name that it gives itself.
    pub name: String,
    /// Its own version.
    #[serde(default)]
    pub version: String,
    /// The JSON Schema of `[Options]` in jobspecs.
    #[serde(default)]
    pub options_schema: Value,
    /// The JSON Schema of `[Executors.NAME.Config]`.
    #[serde(default)]
    pub config_schema: Value,
    /// Whether it was built without optimisations.
    #[serde(default)]
    pub debug: bool,
    /// Whether a panic in it can be caught; `None`: it does not say.
    #[serde(default)]
    pub unwinds: Option<bool>,
}

/// What an executor can do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    /// Its jobs outlive the process that began them.
    pub recover: bool,
    /// It removes what jobs left behind.
    pub cleanup: bool,
    /// It runs several jobs at once.
    pub concurrent: bool,
}

/// An executor that was made from its configuration.
pub struct Instance<'a> {
    table: &'a Plugin,
    pointer: *mut c_void,
    shown: Shown,
}

// SAFETY: the library's functions may be called from any thread; several at once only where it says so, which whoever
// calls them keeps to.
#[allow(unsafe_code)]
unsafe impl Send for Instance<'_> {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for Instance<'_> {}

/// Which table a library is shown. Only tests show anything but the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Shown {
    /// All that this version has.
    #[default]
    Whole,
    /// What the first version had.
    First,
    /// More than any version has.
    Larger,
}

#[allow(unsafe_code)]
impl Library {
    /// Reads what the library's entry returns.
    ///
    /// # Errors
    /// Why this jobmgr can't work with it.
    ///
    /// # Safety
    /// `entry` is the library's `jobmgr_executor_v1`, and the library is never unloaded.
    pub unsafe fn open(entry: abi::Entry) -> Result<Self, String> {
        // SAFETY: as the caller says.
        let given = unsafe { entry() };
        if given.is_null() {
            return Err(format!("{} returned NULL", abi::ENTRY));
        }
        // The head comes first: only what it vouches for may be read.
        // SAFETY: every table has its first 18 bytes, whatever its version.
        let (magic, size, major, minor, needs) = unsafe {
            let head = given.cast::<u8>();
            (
                head.cast::<u64>().read_unaligned(),
                head.add(offset_of!(Plugin, struct_size)).cast::<u32>().read_unaligned() as usize,
                head.add(offset_of!(Plugin, abi_major)).cast::<u16>().read_unaligned(),
                head.add(offset_of!(Plugin, abi_minor)).cast::<u16>().read_unaligned(),
                head.add(offset_of!(Plugin, min_host_minor)).cast::<u16>().read_unaligned(),
            )
        };
        let ours = format!("{}.{}", abi::MAJOR, abi::MINOR);
        if magic != abi::MAGIC {
            return Err(format!("bad magic {magic:#x}"));
        }
        if major != abi::MAJOR {
            return Err(format!("made for plugin ABI {major}.{minor}; this jobmgr speaks {ours}"));
        }
        if size < abi::PLUGIN_1_0 {
            return Err(format!("its table has {size} bytes; ABI 1.0 has {}", abi::PLUGIN_1_0));
        }
        if needs > abi::MINOR {
            return Err(format!("needs plugin ABI {}.{needs}; this jobmgr speaks {ours}", abi::MAJOR));
        }
        let mut table = std::mem::MaybeUninit::<Plugin>::zeroed();
        // SAFETY: the library's table has `size` bytes; all zeroes are a table without functions.
        let table = unsafe {
            let size = size.min(size_of::<Plugin>());
            std::ptr::copy_nonoverlapping(given.cast::<u8>(), table.as_mut_ptr().cast::<u8>(), size);
            table.assume_init()
        };
        if table.describe.is_none() || table.create.is_none() || table.run.is_none() {
            return Err("describe, create and run must not be null".into());
        }
        Ok(Self { table })
    }

    /// The version of the interface that it was built with.
    pub fn abi(&self) -> (u16, u16) {
        (self.table.abi_major, self.table.abi_minor)
    }

    /// What it can do: what it says, as far as the functions are there.
    pub fn capabilities(&self) -> Capabilities {
        let says = |bit| self.table.capabilities & bit != 0;
        Capabilities {
            recover: says(abi::CAP_RECOVER) && self.table.recover.is_some(),
            cleanup: says(abi::CAP_CLEANUP) && self.table.cleanup.is_some(),
            concurrent: says(abi::CAP_CONCURRENT),
        }
    }

    /// Asks it for its name and its schemas.
    ///
    /// # Errors
    /// What it says, or that it can't be understood.
    pub fn describe(&self, host: &dyn Host) -> Result<Description> {
        let Some(describe) = self.table.describe else { return Err(unsupported("describe")) };
        // SAFETY: the library lives as long as the process; the call as long as the function runs.
        let json = call(Shown::Whole, host, |call| unsafe { describe(call) })?;
        serde_json::from_slice(&json).map_err(|error| Error::failed(format!("its description can't be read: {error}")))
    }

    /// Makes an executor.
    ///
    /// # Errors
    /// What it says about the configuration.
    pub fn create(&self, host: &dyn Host, config: &Value, shown: Shown) -> Result<Instance<'_>> {
        let Some(create) = self.table.create else { return Err(unsupported("create")) };
        let (text, mut pointer) = (config.to_string(), std::ptr::null_mut());
        // SAFETY: as above; the text and the room for the pointer live as long as the function runs.
        call(shown, host, |call| unsafe { create(call, Bytes::new(text.as_bytes()), &raw mut pointer) })?;
        Ok(Instance { table: &self.table, pointer, shown })
    }
}

#[allow(unsafe_code)]
impl Instance<'_> {
    /// Checks options beyond their schema; an executor that has nothing to check takes all.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn validate(&self, host: &dyn Host, options: &Value) -> Result<()> {
        let Some(validate) = self.table.validate else { return Ok(()) };
        let text = options.to_string();
        let text = Bytes::new(text.as_bytes());
        // SAFETY: `create` made the instance; the rest lives as long as the function runs.
        call(self.shown, host, |call| unsafe { validate(self.pointer, call, text) }).map(drop)
    }

    /// Runs a job, given as JSON, to its end.
    ///
    /// # Errors
    /// How the executor failed.
    pub fn run(&self, host: &dyn Host, job: &[u8]) -> Result<Outcome> {
        let Some(run) = self.table.run else { return Err(unsupported("run")) };
        // SAFETY: as above.
        outcome(&call(self.shown, host, |call| unsafe { run(self.pointer, call, Bytes::new(job)) })?)
    }

    /// Goes on with a job.
    ///
    /// # Errors
    /// How the executor failed.
    pub fn recover(&self, host: &dyn Host, job: &[u8], handle: Option<&[u8]>) -> Result<Outcome> {
        let Some(recover) = self.table.recover else { return Err(unsupported("recover")) };
        let (job, handle) = (Bytes::new(job), lend(handle));
        // SAFETY: as above.
        outcome(&call(self.shown, host, |call| unsafe { recover(self.pointer, call, job, handle) })?)
    }

    /// Removes what a job left.
    ///
    /// # Errors
    /// When something is left.
    pub fn cleanup(&self, host: &dyn Host, job: &[u8], handle: Option<&[u8]>) -> Result<()> {
        let Some(cleanup) = self.table.cleanup else { return Ok(()) };
        let (job, handle) = (Bytes::new(job), lend(handle));
        // SAFETY: as above.
        call(self.shown, host, |call| unsafe { cleanup(self.pointer, call, job, handle) }).map(drop)
    }

    /// Ends the executor. One that is not ended this way is simply left.
    pub fn destroy(self) {
        if let Some(destroy) = self.table.destroy {
            // SAFETY: `create` made it, and nobody uses it any more.
            unsafe { destroy(self.pointer) };
        }
    }
}

/// No handle is a null pointer; an empty one is not.
fn lend(handle: Option<&[u8]>) -> Bytes {
    handle.map_or(Bytes { ptr: std::ptr::null(), len: 0 }, Bytes::new)
}

fn unsupported(what: &str) -> Error {
    Error::new(Kind::Unsupported, format!("the executor has no {what}"))
}

fn outcome(json: &[u8]) -> Result<Outcome> {
    let mut outcome: Outcome = serde_json::from_slice(json).map_err(|error| {
        let text = String::from_utf8_lossy(&json[..json.len().min(200)]).into_owned();
        Error::failed(format!("the executor's outcome can't be read: {error}: {text:?}"))
    })?;
    // The ending alone is enough to say.
    match outcome.ending {
        Ending::Exited(code) => outcome.exit_code = outcome.exit_code.or(Some(code)),
        Ending::Signaled(signal) => outcome.signal = outcome.signal.or(Some(signal)),
        _ => {}
    }
    Ok(outcome)
}

/// One call as the library sees it; what follows `call` is ours.
#[repr(C)]
struct Frame<'a> {
    call: Call,
    host: &'a dyn Host,
    reply: Mutex<Vec<u8>>,
    on_stop: Mutex<Option<u64>>,
}

/// The table with unknown fields behind it.
#[repr(C)]
struct Larger {
    table: HostTable,
    more: [u64; 8],
}

const fn table(struct_size: usize) -> HostTable {
    HostTable {
        struct_size: struct_size as u32,
        abi_major: abi::MAJOR,
        abi_minor: abi::MINOR,
        reply: Some(reply),
        log: Some(log),
        event: Some(event),
        checkpoint: Some(checkpoint),
        wait_stop: Some(wait_stop),
        on_stop: Some(on_stop),
        request: Some(request),
    }
}

static WHOLE: HostTable = table(size_of::<HostTable>());
static FIRST: HostTable = table(abi::HOST_1_0);
static LARGER: Larger =
    Larger { table: HostTable { abi_minor: abi::MINOR + 9, ..table(size_of::<Larger>()) }, more: [0x5a5a; 8] };

/// Calls a function of the library: what it replied, or how it failed.
fn call(shown: Shown, host: &dyn Host, act: impl FnOnce(*mut Call) -> i32) -> Result<Vec<u8>> {
    let table: *const HostTable = match shown {
        Shown::Whole => &raw const WHOLE,
        Shown::First => &raw const FIRST,
        Shown::Larger => (&raw const LARGER).cast(),
    };
    let mut frame = Frame { call: Call { host: table }, host, reply: Mutex::default(), on_stop: Mutex::default() };
    let status = act((&raw mut frame).cast());
    if let Some(id) = frame.on_stop.into_inner().unwrap_or_else(PoisonError::into_inner) {
        host.no_stop(id);
    }
    let reply = frame.reply.into_inner().unwrap_or_else(PoisonError::into_inner);
    if status == status::OK {
        return Ok(reply);
    }
    let said: Value = serde_json::from_slice(&reply).unwrap_or(Value::Null);
    let text = match said["error"].as_str() {
        Some(text) => text.to_owned(),
        None if reply.is_empty() => format!("the executor gave status {status} and no reason"),
        None => String::from_utf8_lossy(&reply).into_owned(),
    };
    Err(Error::new(Kind::from_status(status), text))
}

/// # Safety
/// `call` is one that [`call`] lent, and it has not returned.
#[allow(unsafe_code)]
unsafe fn frame<'a>(call: *mut Call) -> &'a Frame<'a> {
    // SAFETY: a `Call` that we lent is the first field of a `Frame`.
    unsafe { &*call.cast::<Frame<'a>>() }
}

fn status_of(result: Result<()>) -> i32 {
    result.map_or_else(|error| error.kind().status(), |()| status::OK)
}

#[allow(unsafe_code)]
unsafe extern "C" fn reply(call: *mut Call, json: Bytes) {
    // SAFETY: the library gives back the call that it was lent, and lends the text.
    let (frame, json) = unsafe { (frame(call), json.get()) };
    *frame.reply.lock().unwrap_or_else(PoisonError::into_inner) = json.to_vec();
}

#[allow(unsafe_code)]
unsafe extern "C" fn log(call: *mut Call, stream: u32, time_ns: u64, data: Bytes) -> i32 {
    // SAFETY: as for `reply`.
    let (frame, data) = unsafe { (frame(call), data.get()) };
    let stream = match stream {
        1 => Stream::Stdout,
        2 => Stream::Stderr,
        _ => Stream::Executor,
    };
    status_of(frame.host.log(stream, time_ns, data))
}

#[allow(unsafe_code)]
unsafe extern "C" fn event(call: *mut Call, json: Bytes) -> i32 {
    // SAFETY: as for `reply`.
    let (frame, json) = unsafe { (frame(call), json.get()) };
    match serde_json::from_slice(json) {
        Ok(json) => {
            frame.host.event(Event::from_json(json));
            status::OK
        }
        Err(_) => status::INVALID,
    }
}

#[allow(unsafe_code)]
unsafe extern "C" fn checkpoint(call: *mut Call, handle: Bytes) -> i32 {
    // SAFETY: as for `reply`.
    let (frame, handle) = unsafe { (frame(call), handle.get()) };
    if handle.len() > MAX_HANDLE {
        return status::INVALID;
    }
    status_of(frame.host.checkpoint(handle))
}

fn stop_number(stop: Option<Stop>) -> u32 {
    match stop {
        None => 0,
        Some(Stop::Cancel) => 1,
        Some(Stop::Detach) => 2,
        Some(Stop::Timeout) => 3,
    }
}

#[allow(unsafe_code)]
unsafe extern "C" fn wait_stop(call: *mut Call, timeout_ms: u64) -> u32 {
    // SAFETY: as for `reply`.
    stop_number(unsafe { frame(call) }.host.wait_stop(Duration::from_millis(timeout_ms)))
}

/// A pointer that its owner lets other threads use.
struct User(*mut c_void);

// SAFETY: the interface says that the callback comes on a thread of the host.
#[allow(unsafe_code)]
unsafe impl Send for User {}

#[allow(unsafe_code)]
unsafe extern "C" fn on_stop(call: *mut Call, call_back: Option<abi::OnStop>, user: *mut c_void) {
    // SAFETY: as for `reply`.
    let frame = unsafe { frame(call) };
    let before = frame.on_stop.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(id) = before {
        frame.host.no_stop(id);
    }
    let Some(call_back) = call_back else { return };
    let user = User(user);
    let id = frame.host.on_stop(Box::new(move |why| {
        let user = &user;
        // SAFETY: the library takes it back, or returns, before `user` goes; both wait for this.
        unsafe { call_back(user.0, stop_number(Some(why))) }
    }));
    *frame.on_stop.lock().unwrap_or_else(PoisonError::into_inner) = Some(id);
}

#[allow(unsafe_code)]
unsafe extern "C" fn request(
    call: *mut Call,
    method: Bytes,
    json: Bytes,
    on_reply: Option<abi::OnReply>,
    user: *mut c_void,
) -> i32 {
    // SAFETY: as for `reply`.
    let (frame, method, json) = unsafe { (frame(call), method.get(), json.get()) };
    let asked = || {
        let method = std::str::from_utf8(method).map_err(|error| Error::invalid(format!("the method: {error}")))?;
        let json = serde_json::from_slice(json).map_err(|error| Error::invalid(format!("{method}: {error}")))?;
        frame.host.request(method, &json)
    };
    let (status, answer) = match asked() {
        Ok(answer) => (status::OK, answer),
        Err(error) => (error.kind().status(), serde_json::json!({"error": error.to_string()})),
    };
    if let Some(on_reply) = on_reply {
        let text = answer.to_string();
        // SAFETY: the text lives until it returns; what `user` is, only the library knows.
        unsafe { on_reply(user, Bytes::new(text.as_bytes())) };
    }
    status
}
