use std::path::Path;
use std::time::Duration;

use jobmgr_plugin_api::{Error, Job, Kind, Logged, Outcome, Stream};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::super::here;
use crate::runner::plugin::Call;
use crate::runner::{Failure, Said};

/// What is listened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// The end of the call.
    End,
    /// The job runs: it has printed something or kept a handle, and a moment has passed.
    Middle,
    /// The executor wants to keep its first handle; it is not answered.
    Checkpoint,
}

/// How long a job goes on before it counts as being in the middle.
const MIDDLE: Duration = Duration::from_millis(300);
/// How long a sign of life is waited for.
const SIGN: Duration = Duration::from_secs(3);

/// What a call has said so far.
#[derive(Default)]
pub(super) struct Heard {
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    /// How much of both there is, and of when.
    pub(super) logged: [Logged; 2],
    pub(super) handle: Option<Vec<u8>>,
    pub(super) result: Option<Result<Outcome, Failure>>,
}

impl Heard {
    /// How much of both streams there is.
    pub(super) fn bytes(&self) -> usize {
        self.stdout.len() + self.stderr.len()
    }
}

/// Listens until the moment, or the end, at most `limit`; `false`: it took longer.
pub(super) async fn listen(
    call: &mut Call,
    job: &Job<Value>,
    heard: &mut Heard,
    moment: Moment,
    limit: Duration,
) -> bool {
    let mut until = Instant::now() + if moment == Moment::Middle { limit.min(SIGN) } else { limit };
    let mut sign = false;
    while heard.result.is_none() {
        let Ok(said) = timeout_at(until, call.next()).await else { return moment == Moment::Middle };
        let mut life = true;
        match said {
            Said::Log { stream, time_ns, data } => match stream {
                Stream::Stdout => {
                    heard.logged[0].add(time_ns, data.len() as u64);
                    heard.stdout.extend_from_slice(&data);
                }
                Stream::Stderr => {
                    heard.logged[1].add(time_ns, data.len() as u64);
                    heard.stderr.extend_from_slice(&data);
                }
                _ => life = false,
            },
            Said::Event(_) => life = false,
            Said::Checkpoint(_) if moment == Moment::Checkpoint => return true,
            Said::Checkpoint(handle) => {
                heard.handle = Some(handle.to_vec());
                // One that is gone says so at the end.
                drop(call.answer(Ok(Value::Null)).await);
            }
            Said::Request(method, json) => {
                let answer = match method.as_str() {
                    "artifact.put" => here::put(&Path::new(&job.dir).join("artifacts"), &json),
                    _ => Err(Error::new(Kind::Unsupported, format!("there is no method '{method}' in a check"))),
                };
                drop(call.answer(answer).await);
            }
            Said::Done(result) => heard.result = Some(result),
        }
        if life && moment == Moment::Middle && !sign {
            sign = true;
            until = Instant::now() + MIDDLE;
        }
    }
    true
}
