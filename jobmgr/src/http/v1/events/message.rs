//! What is said of a job, and how it is written: as a Server-Sent Event, or as JSON.

use serde::Serialize;

use super::super::job::ArtifactInfo;
use crate::domain::job::{Artifact, Job, JobId, Progress};
use crate::domain::time::rfc3339;
use crate::store::{Event, UnderWay};

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// By which the client goes on from here; `None`: from where it was.
    pub id: Option<String>,
    /// What it tells.
    pub kind: &'static str,
    /// JSON.
    pub data: String,
}

/// The data of `status` and `end`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusData<'a> {
    #[serde(rename = "jobID")]
    job_id: JobId,
    name: &'a str,
    #[serde(rename = "userID")]
    user_id: i64,
    status: &'static str,
    attempt: i64,
    reason: Option<&'static str>,
    at: String,
}

impl<'a> From<&'a Event> for StatusData<'a> {
    fn from(event: &'a Event) -> Self {
        Self {
            job_id: event.job_id,
            name: &event.name,
            user_id: event.user_id,
            status: event.status.as_str(),
            attempt: event.attempt,
            reason: event.reason.map(|reason| reason.as_str()),
            at: rfc3339(event.at_ms),
        }
    }
}

impl<'a> From<&'a Job> for StatusData<'a> {
    fn from(job: &'a Job) -> Self {
        let at_ms = job.finished_ms.or(job.started_ms).unwrap_or(job.created_ms);
        Self {
            job_id: job.id,
            name: &job.name,
            user_id: job.user_id,
            status: job.status.as_str(),
            attempt: job.attempt,
            reason: job.reason.map(|reason| reason.as_str()),
            at: rfc3339(at_ms),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProgressData<'a> {
    #[serde(rename = "jobID")]
    job_id: JobId,
    name: &'a str,
    #[serde(rename = "userID")]
    user_id: i64,
    attempt: i64,
    percent: f64,
    message: &'a str,
}

#[derive(Serialize)]
struct LogData<'a> {
    stream: &'static str,
    offset: u64,
    text: &'a str,
}

impl Message {
    fn new(kind: &'static str, data: &impl Serialize) -> Self {
        // Strings, numbers and lists of them can always be written.
        Self { id: None, kind, data: serde_json::to_string(data).unwrap_or_default() }
    }

    /// The same, from which a client can go on.
    pub fn at(self, place: impl std::fmt::Display) -> Self {
        Self { id: Some(place.to_string()), ..self }
    }

    /// A job came to a status.
    pub fn status<'a>(of: impl Into<StatusData<'a>>) -> Self {
        Self::new("status", &of.into())
    }

    /// Nothing more comes of a job.
    pub fn end<'a>(of: impl Into<StatusData<'a>>) -> Self {
        Self::new("end", &of.into())
    }

    /// A job left a file.
    pub fn artifact(artifact: Artifact) -> Self {
        Self::new("artifact", &ArtifactInfo::from(artifact))
    }

    /// How far a job is.
    pub fn progress(job: &UnderWay) -> Self {
        let UnderWay { job_id, user_id, name, attempt, progress: Progress { percent, message } } = job;
        let (job_id, user_id, attempt, percent) = (*job_id, *user_id, *attempt, *percent);
        Self::new("progress", &ProgressData { job_id, name, user_id, attempt, percent, message })
    }

    /// A job wrote something.
    pub fn log(stream: &'static str, offset: u64, text: &str) -> Self {
        Self::new("log", &LogData { stream, offset, text })
    }

    /// Events are missing.
    pub fn lost() -> Self {
        Self::new("lost", &serde_json::json!({ "detail": "events of this time are no longer kept" }))
    }

    /// As a Server-Sent Event. JSON has its line ends escaped, so the data is one line.
    pub fn to_sse(&self, out: &mut String) {
        if let Some(id) = &self.id {
            out.extend(["id: ", id, "\n"]);
        }
        out.extend(["event: ", self.kind, "\ndata: ", &self.data, "\n\n"]);
    }

    /// As a JSON object.
    pub fn to_json(&self) -> String {
        // An id has digits and a few signs, none of which is escaped.
        let id = self.id.as_ref().map(|id| format!("\"id\":\"{id}\",")).unwrap_or_default();
        format!("{{{id}\"event\":\"{}\",\"data\":{}}}", self.kind, self.data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_whole_in_both_forms() {
        let message = Message::log("stdout", 7, "a\r\n\u{2028}\"\u{0}").at("1.s1.9");
        let mut sse = String::new();
        message.to_sse(&mut sse);
        let lines: Vec<&str> = sse.split('\n').collect();
        assert_eq!(lines[..2], ["id: 1.s1.9", "event: log"]);
        assert_eq!((lines.len(), &lines[3..]), (5, &["", ""][..]));
        let data: serde_json::Value = serde_json::from_str(lines[2].strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(data, serde_json::json!({"stream": "stdout", "offset": 7, "text": "a\r\n\u{2028}\"\u{0}"}));
        let json: serde_json::Value = serde_json::from_str(&message.to_json()).unwrap();
        assert_eq!(json, serde_json::json!({"id": "1.s1.9", "event": "log", "data": data}));
        assert_eq!(Message::lost().to_json().matches("\"id\"").count(), 0);
    }
}
