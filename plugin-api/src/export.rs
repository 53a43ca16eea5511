use std::any::Any;
use std::cell::RefCell;
use std::ffi::c_void;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::abi::{self, Bytes, Call, HostTable, Plugin, status};
use crate::{Context, Error, Event, Executor, Host, Job, Kind, OnStop, Recover, Result, Stop, Stops, Stream};

/// Exports an executor from a library (`crate-type = ["cdylib"]`). One that can recover says so:
/// `export_executor!(Mine, recover)`; one whose `run` may be called for several jobs at once as well:
/// `export_executor!(Mine, recover, concurrent)`.
#[macro_export]
macro_rules! export_executor {
    ($executor:ty) => {
        $crate::export_executor!(@table $executor, $crate::export::table::<$executor>());
    };
    ($executor:ty, recover) => {
        $crate::export_executor!(@table $executor, $crate::export::recovering::<$executor>(0));
    };
    ($executor:ty, recover, concurrent) => {
        $crate::export_executor!(
            @table $executor, $crate::export::recovering::<$executor>($crate::abi::CAP_CONCURRENT)
        );
    };
    (@table $executor:ty, $table:expr) => {
        const _: () = {
            unsafe extern "C" fn describe(call: *mut $crate::abi::Call) -> i32 {
                // SAFETY: the host lends a call that is good until this returns.
                #[allow(unsafe_code)]
                unsafe {
                    $crate::export::describe::<$executor>(call, env!("CARGO_PKG_VERSION"))
                }
            }

            static TABLE: $crate::export::Table =
                $crate::export::Table($crate::abi::Plugin { describe: Some(describe), ..$table });

            #[allow(unsafe_code)]
            #[unsafe(no_mangle)]
            extern "C" fn jobmgr_executor_v1() -> *const $crate::abi::Plugin {
                &TABLE.0
            }
        };
    };
}

/// A table that lives as long as its library.
pub struct Table(pub Plugin);

// SAFETY: nobody writes to it; its functions may be called from any thread.
#[allow(unsafe_code)]
unsafe impl Sync for Table {}

/// The table of an executor.
pub const fn table<E: Executor>() -> Plugin {
    Plugin {
        magic: abi::MAGIC,
        struct_size: size_of::<Plugin>() as u32,
        abi_major: abi::MAJOR,
        abi_minor: abi::MINOR,
        min_host_minor: 0,
        reserved0: 0,
        reserved1: 0,
        capabilities: 0,
        describe: None,
        create: Some(create::<E>),
        destroy: Some(destroy::<E>),
        validate: Some(validate::<E>),
        run: Some(run::<E>),
        recover: None,
        cleanup: None,
    }
}

/// The table of one that can recover, with more capabilities.
pub const fn recovering<R: Recover>(capabilities: u64) -> Plugin {
    Plugin {
        capabilities: abi::CAP_RECOVER | abi::CAP_CLEANUP | capabilities,
        recover: Some(recover::<R>),
        cleanup: Some(cleanup::<R>),
        ..table::<R>()
    }
}

/// # Safety
/// `call` is good until this returns.
#[allow(unsafe_code)]
pub unsafe fn describe<E: Executor>(call: *mut Call, version: &str) -> i32 {
    // SAFETY: as the caller says.
    unsafe {
        enter(call, |_| {
            Ok(Some(json!({
                "name": E::NAME,
                "version": version,
                "api": env!("CARGO_PKG_VERSION"),
                "debug": cfg!(debug_assertions),
                "unwinds": cfg!(panic = "unwind"),
                "options_schema": crate::schemars::schema_for!(E::Options),
                "config_schema": crate::schemars::schema_for!(E::Config),
            })))
        })
    }
}

#[allow(unsafe_code)]
unsafe extern "C" fn create<E: Executor>(call: *mut Call, config: Bytes, instance: *mut *mut c_void) -> i32 {
    // SAFETY: the host lends both until this returns, and room for a pointer.
    unsafe {
        enter(call, |_| {
            let executor = E::new(object(&parse(config.get())?, "the configuration")?)?;
            *instance = Box::into_raw(Box::new(executor)).cast();
            Ok(None)
        })
    }
}

#[allow(unsafe_code)]
unsafe extern "C" fn destroy<E: Executor>(instance: *mut c_void) {
    // SAFETY: the host gives back what `create` made, once, and nobody uses it any more.
    let executor = unsafe { Box::from_raw(instance.cast::<E>()) };
    if let Err(panic) = catch_unwind(AssertUnwindSafe(move || drop(executor))) {
        std::mem::forget(panic);
    }
}

#[allow(unsafe_code)]
unsafe extern "C" fn validate<E: Executor>(instance: *mut c_void, call: *mut Call, options: Bytes) -> i32 {
    // SAFETY: the host gives what `create` made, and lends the rest until this returns.
    unsafe {
        enter(call, |_| {
            let executor = &*instance.cast::<E>();
            executor.validate(&object(&parse(options.get())?, "the options")?)?;
            Ok(None)
        })
    }
}

#[allow(unsafe_code)]
unsafe extern "C" fn run<E: Executor>(instance: *mut c_void, call: *mut Call, job: Bytes) -> i32 {
    // SAFETY: as for `validate`.
    unsafe {
        enter(call, |ctx| {
            let executor = &*instance.cast::<E>();
            let job = self::job::<E>(job.get())?;
            executor.validate(&job.options)?;
            Ok(Some(to_json(&executor.run(&job, ctx)?)?))
        })
    }
}

#[allow(unsafe_code)]
unsafe extern "C" fn recover<R: Recover>(instance: *mut c_void, call: *mut Call, job: Bytes, handle: Bytes) -> i32 {
    // SAFETY: as for `validate`.
    unsafe {
        enter(call, |ctx| {
            let executor = &*instance.cast::<R>();
            let handle = (!handle.ptr.is_null()).then(|| handle.get());
            Ok(Some(to_json(&executor.recover(&self::job::<R>(job.get())?, handle, ctx)?)?))
        })
    }
}

#[allow(unsafe_code)]
unsafe extern "C" fn cleanup<R: Recover>(instance: *mut c_void, call: *mut Call, job: Bytes, handle: Bytes) -> i32 {
    // SAFETY: as for `validate`.
    unsafe {
        enter(call, |ctx| {
            let executor = &*instance.cast::<R>();
            let handle = (!handle.ptr.is_null()).then(|| handle.get());
            executor.cleanup(&self::job::<R>(job.get())?, handle, ctx)?;
            Ok(None)
        })
    }
}

fn parse(json: &[u8]) -> Result<Value> {
    serde_json::from_slice(json).map_err(|error| Error::invalid(format!("this is not JSON: {error}")))
}

/// serde's derive would take an array for a struct.
fn object<T: DeserializeOwned>(json: &Value, what: &str) -> Result<T> {
    if !json.is_object() {
        return Err(Error::invalid(format!("{what} must be an object")));
    }
    T::deserialize(json).map_err(|error| Error::invalid(error.to_string()))
}

fn job<E: Executor>(json: &[u8]) -> Result<Job<E::Options>> {
    let job: Job<Value> =
        serde_json::from_slice(json).map_err(|error| Error::failed(format!("the job can't be read: {error}")))?;
    let (rest, options) = job.split();
    Ok(rest.with(object(&options, "the options")?))
}

fn to_json(outcome: &crate::Outcome) -> Result<Value> {
    serde_json::to_value(outcome).map_err(|error| Error::failed(error.to_string()))
}

thread_local! {
    /// Where the last panic of this thread was, and what it said.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// This library has a standard library of its own, and so a panic hook of its own.
fn set_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            let text = info.payload_as_str().unwrap_or("Box<dyn Any>");
            let place = info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
            // Standard error may be closed.
            let _ = writeln!(std::io::stderr(), "plugin panicked at {place}:\n{text}");
            PANIC.with_borrow_mut(|last| *last = Some(format!("panicked at {place}: {text}")));
        }));
    });
}

/// Runs what may fail or panic, gives the result to the host, and the status back.
#[allow(unsafe_code)]
unsafe fn enter(call: *mut Call, act: impl FnOnce(&Context<'_>) -> Result<Option<Value>>) -> i32 {
    set_hook();
    // SAFETY: the host lends the call until the caller returns, which is after this value is gone.
    let far = unsafe { Far::new(call) };
    let result = catch_unwind(AssertUnwindSafe(|| act(&Context::new(&far)))).unwrap_or_else(|panic| Err(caught(panic)));
    // What print! left in this library's own buffer.
    let _ = std::io::stdout().flush();
    match result {
        Ok(reply) => {
            if let Some(reply) = reply {
                far.reply(&reply);
            }
            status::OK
        }
        Err(error) => {
            far.reply(&json!({"error": error.to_string()}));
            error.kind().status()
        }
    }
}

fn caught(panic: Box<dyn Any + Send>) -> Error {
    // Its own Drop may panic.
    std::mem::forget(panic);
    let text = PANIC.with_borrow_mut(Option::take);
    Error::new(Kind::Panicked, text.unwrap_or_else(|| "panicked".to_owned()))
}

/// The host, across the C interface.
struct Far {
    call: *mut Call,
    table: HostTable,
    stops: Stops,
    listens: Mutex<bool>,
}

// SAFETY: the host's functions may be called from any thread while the call lives.
#[allow(unsafe_code)]
unsafe impl Sync for Far {}

#[allow(unsafe_code)]
impl Far {
    /// # Safety
    /// `call` outlives what is returned.
    unsafe fn new(call: *mut Call) -> Self {
        let mut table = std::mem::MaybeUninit::<HostTable>::zeroed();
        // SAFETY: the host's table is at least as large as the first one that was shipped, which all our fields are
        // part of; a larger one is cut; all zeroes are a table without functions.
        let table = unsafe {
            let host = (*call).host;
            let size = ((*host).struct_size as usize).min(size_of::<HostTable>());
            std::ptr::copy_nonoverlapping(host.cast::<u8>(), table.as_mut_ptr().cast::<u8>(), size);
            table.assume_init()
        };
        Far { call, table, stops: Stops::default(), listens: Mutex::new(false) }
    }

    fn reply(&self, json: &Value) {
        let text = json.to_string();
        if let Some(reply) = self.table.reply {
            // SAFETY: the call lives, and the text until the host has copied it.
            unsafe { reply(self.call, Bytes::new(text.as_bytes())) };
        }
    }
}

#[allow(unsafe_code)]
unsafe extern "C" fn stopped(user: *mut c_void, stop: u32) {
    // SAFETY: it is the `stops` of a `Far`, which takes this callback back before it goes.
    let stops = unsafe { &*user.cast::<Stops>() };
    let Some(why) = to_stop(stop) else { return };
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| stops.ask(why))) {
        std::mem::forget(panic);
    }
}

fn to_stop(stop: u32) -> Option<Stop> {
    match stop {
        0 => None,
        2 => Some(Stop::Detach),
        3 => Some(Stop::Timeout),
        _ => Some(Stop::Cancel),
    }
}

fn done(status: i32, what: &str) -> Result<()> {
    match status {
        status::OK => Ok(()),
        other => Err(Error::new(Kind::from_status(other), format!("{what} is not possible: status {other}"))),
    }
}

fn missing(what: &str) -> Error {
    Error::new(Kind::Unsupported, format!("this jobmgr has no {what}"))
}

#[allow(unsafe_code)]
impl Host for Far {
    fn log(&self, stream: Stream, time_ns: u64, data: &[u8]) -> Result<()> {
        let log = self.table.log.ok_or_else(|| missing("log"))?;
        let stream = match stream {
            Stream::Stdout => 1,
            Stream::Stderr => 2,
            Stream::Executor => 3,
        };
        // SAFETY: the call lives, and the data until this returns.
        done(unsafe { log(self.call, stream, time_ns, Bytes::new(data)) }, "logging")
    }

    fn event(&self, event: Event) {
        let text = event.to_json().to_string();
        if let Some(event) = self.table.event {
            // SAFETY: as above.
            unsafe { event(self.call, Bytes::new(text.as_bytes())) };
        }
    }

    fn checkpoint(&self, handle: &[u8]) -> Result<()> {
        let checkpoint = self.table.checkpoint.ok_or_else(|| missing("checkpoint"))?;
        // SAFETY: as above.
        done(unsafe { checkpoint(self.call, Bytes::new(handle)) }, "a checkpoint")
    }

    fn wait_stop(&self, limit: Duration) -> Option<Stop> {
        let wait = self.table.wait_stop?;
        let limit = limit.as_nanos().div_ceil(1_000_000);
        // SAFETY: the call lives.
        to_stop(unsafe { wait(self.call, u64::try_from(limit).unwrap_or(u64::MAX)) })
    }

    fn on_stop(&self, call: OnStop) -> u64 {
        let id = self.stops.add(call);
        let mut listens = self.listens.lock().unwrap_or_else(PoisonError::into_inner);
        if !*listens && let Some(on_stop) = self.table.on_stop {
            *listens = true;
            let user = (&raw const self.stops).cast_mut().cast();
            // SAFETY: the call lives, and `stops` until `drop` has taken the callback back.
            unsafe { on_stop(self.call, Some(stopped), user) };
        }
        id
    }

    fn no_stop(&self, id: u64) {
        self.stops.remove(id);
    }

    fn request(&self, method: &str, json: &Value) -> Result<Value> {
        let request = self.table.request.ok_or_else(|| missing("request"))?;
        let (text, mut answer) = (json.to_string(), None::<Vec<u8>>);
        let user = (&raw mut answer).cast();
        let (method_bytes, text) = (Bytes::new(method.as_bytes()), Bytes::new(text.as_bytes()));
        // SAFETY: as above; `answered` is called with `answer` before this returns.
        let status = unsafe { request(self.call, method_bytes, text, Some(answered), user) };
        let answer: Value = serde_json::from_slice(&answer.unwrap_or_default()).unwrap_or(Value::Null);
        if status == status::OK {
            return Ok(answer);
        }
        let why = answer["error"].as_str().map_or_else(|| format!("{method}: status {status}"), ToOwned::to_owned);
        Err(Error::new(Kind::from_status(status), why))
    }
}

#[allow(unsafe_code)]
unsafe extern "C" fn answered(user: *mut c_void, json: Bytes) {
    // SAFETY: `request` gave its own variable, which it reads only afterwards; the host lends the answer.
    unsafe { *user.cast::<Option<Vec<u8>>>() = Some(json.get().to_vec()) };
}

#[allow(unsafe_code)]
impl Drop for Far {
    fn drop(&mut self) {
        let listens = *self.listens.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let (true, Some(on_stop)) = (listens, self.table.on_stop) {
            // SAFETY: the call lives.
            unsafe { on_stop(self.call, None, std::ptr::null_mut()) };
        }
    }
}
