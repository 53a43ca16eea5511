//! Whom to tell of what becomes of jobs, and what was told.

use super::job::{Job, JobId, Status};
use super::submission::Labels;

/// What may be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A job waits: it was submitted, or it is to be run again.
    Queued,
    /// A worker has it.
    Started,
    /// It ended well.
    Completed,
    /// It ended badly.
    Failed,
    /// It was ended on request.
    Canceled,
    /// Nothing happened: somebody tries whether a webhook works.
    Test,
}

impl Kind {
    /// All that happens to jobs.
    pub const OF_JOBS: [Kind; 5] = [Kind::Queued, Kind::Started, Kind::Completed, Kind::Failed, Kind::Canceled];
    /// How jobs end.
    pub const ENDS: [Kind; 3] = [Kind::Completed, Kind::Failed, Kind::Canceled];

    /// The word that is sent, stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Queued => "job.queued",
            Kind::Started => "job.started",
            Kind::Completed => "job.completed",
            Kind::Failed => "job.failed",
            Kind::Canceled => "job.canceled",
            Kind::Test => "webhook.test",
        }
    }

    /// What a stored word names.
    pub fn from_word(word: &str) -> Option<Kind> {
        Self::OF_JOBS.into_iter().chain([Kind::Test]).find(|kind| kind.as_str() == word)
    }

    /// Whether a job has ended that way.
    pub fn is_end(self) -> bool {
        Self::ENDS.contains(&self)
    }
}

impl From<Status> for Kind {
    fn from(status: Status) -> Self {
        match status {
            Status::Queued => Kind::Queued,
            Status::Started => Kind::Started,
            Status::Completed => Kind::Completed,
            Status::Failed => Kind::Failed,
            Status::Canceled => Kind::Canceled,
        }
    }
}

/// Which jobs and what of them somebody wants to be told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What is told.
    pub events: Vec<Kind>,
    /// The names of jobspecs; empty: of all.
    pub names: Vec<String>,
    /// Labels that a job must have.
    pub labels: Labels,
}

impl Wanted {
    /// Whether it is to be told of this job that this has become of it.
    pub fn covers(&self, kind: Kind, job: &Job) -> bool {
        self.events.contains(&kind)
            && (self.names.is_empty() || self.names.contains(&job.name))
            && self.labels.iter().all(|(name, value)| job.labels.get(name) == Some(value))
    }
}

/// An address that is told of what becomes of jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Its number.
    pub id: i64,
    /// Whose it is.
    pub user_id: i64,
    /// Where messages go.
    pub url: String,
    /// What it is told.
    pub wanted: Wanted,
    /// Whether it is told anything now.
    pub enabled: bool,
    /// Why not, where nobody asked for that.
    pub why_disabled: Option<String>,
    /// When it was registered, in Unix milliseconds of the database's clock.
    pub created_ms: i64,
    /// When it was last enabled; it is told of nothing from before.
    pub enabled_ms: i64,
    /// Until when messages are signed with the secret before the last change, too.
    pub previous_until_ms: Option<i64>,
}

/// A webhook to be registered. Its secret is encrypted.
#[derive(Debug, Clone)]
pub struct NewWebhook {
    /// Whose it is.
    pub user_id: i64,
    /// Where messages go.
    pub url: String,
    /// What it is told.
    pub wanted: Wanted,
    /// What messages are signed with.
    pub secret: String,
}

/// What of a webhook becomes something else.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// Where messages go.
    pub url: Option<String>,
    /// What it is told.
    pub events: Option<Vec<Kind>>,
    /// The names of jobspecs; empty: of all.
    pub names: Option<Vec<String>>,
    /// Labels that a job must have.
    pub labels: Option<Labels>,
    /// Whether it is told anything.
    pub enabled: Option<bool>,
}

/// An address that is told of the end of one job. Its secret is encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnWebhook {
    /// Where the message goes.
    pub url: String,
    /// What it is signed with; `None`: it is not.
    pub secret: Option<String>,
}

/// Something to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Which webhook; 0: the job's own.
    pub webhook_id: i64,
    /// Where to, where it is the job's own.
    pub own: Option<OwnWebhook>,
    /// What waits for the same receiver has the same text, of up to 128 bytes.
    pub lane: String,
    /// By which receivers know a message that comes twice.
    pub message_id: String,
    /// The job, where it is about one.
    pub job_id: Option<JobId>,
    /// What is told.
    pub kind: Kind,
    /// When that happened, in Unix milliseconds of the database's clock.
    pub time_ms: i64,
    /// What there is to say of it, as JSON.
    pub data: String,
}

/// How a message fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is to be sent, for the first time or again.
    Pending,
    /// Its receiver has it.
    Delivered,
    /// It is not sent any more.
    Failed,
}

impl Standing {
    /// All of them.
    pub const ALL: [Standing; 3] = [Standing::Pending, Standing::Delivered, Standing::Failed];

    /// The word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Standing::Pending => "pending",
            Standing::Delivered => "delivered",
            Standing::Failed => "failed",
        }
    }

    /// What a stored word names.
    pub fn from_word(word: &str) -> Option<Standing> {
        Self::ALL.into_iter().find(|standing| standing.as_str() == word)
    }
}

/// A message in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its number.
    pub id: i64,
    /// Which webhook; 0: the job's own.
    pub webhook_id: i64,
    /// By which receivers know it when it comes twice.
    pub message_id: String,
    /// The job, where it is about one.
    pub job_id: Option<JobId>,
    /// What is told.
    pub kind: Kind,
    /// The how-manieth message of its webhook it is.
    pub sequence: i64,
    /// When what is told happened, in Unix milliseconds.
    pub time_ms: i64,
    /// How it fares.
    pub standing: Standing,
    /// How often it was sent.
    pub attempts: i64,
    /// When it is sent next, while it is pending.
    pub next_ms: Option<i64>,
    /// What the last attempt came to.
    pub last: Option<Attempted>,
    /// When its receiver had it, or when it was given up.
    pub ended_ms: Option<i64>,
}

/// What an attempt to deliver a message came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attempted {
    /// The status of the answer, where there was one.
    pub status: Option<i64>,
    /// Why the message was not taken.
    pub error: Option<String>,
    /// The beginning of the answer's body.
    pub response: Option<String>,
    /// How long it took, in milliseconds.
    pub took_ms: i64,
}

/// A message to be sent now, by whoever has claimed it. Its secrets are encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The delivery.
    pub id: i64,
    /// Which attempt this is.
    pub attempt: i64,
    /// How many attempts there were since it was asked for.
    pub tries: i64,
    /// Which webhook; 0: the job's own.
    pub webhook_id: i64,
    /// Where to.
    pub url: String,
    /// What it is signed with: the newest first.
    pub secrets: Vec<String>,
    /// By which receivers know it.
    pub message_id: String,
    /// What is told.
    pub kind: Kind,
    /// The how-manieth message of its webhook it is.
    pub sequence: i64,
    /// When what is told happened.
    pub time_ms: i64,
    /// What there is to say of it, as JSON.
    pub data: String,
}

/// What comes after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing: the receiver has it.
    Delivered,
    /// It is sent again after a pause.
    Again(std::time::Duration),
    /// Nothing: it is given up.
    GivenUp,
    /// It is given up, and so is its webhook: nobody is there any more.
    Gone,
}
