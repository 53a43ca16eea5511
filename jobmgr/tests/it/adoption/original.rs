//! A database as the original jobmgr leaves it, and what its API would say of it.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::support::databases::DatabaseServer;

/// How much higher the original's next ids are than its last ones: rows that it has deleted.
pub const DELETED: i64 = 500;

const SCHEMA: &str = "
create table users (id int auto_increment primary key, username text not null) engine = InnoDB;
create table jobs (id int auto_increment primary key, status int not null, priority int not null, name text not null,
    parameters text not null, created int not null, started int null, completed int null, userID int not null,
    key userID (userID), foreign key (userID) references users (id)) engine = InnoDB;
create table artifacts (id int auto_increment primary key, name text not null, mime text not null, size int not null,
    uuid text not null, created int not null, jobID int not null, key jobID (jobID),
    foreign key (jobID) references jobs (id)) engine = InnoDB;
create table results (id int auto_increment primary key, data text not null, jobID int not null, key jobID (jobID),
    foreign key (jobID) references jobs (id)) engine = InnoDB;
create table roamer_history (id int auto_increment primary key, name text not null) engine = InnoDB;
insert into roamer_history (name) values ('first');
insert into users (username) values ('root'), ('second');
";

/// A job of the original.
pub struct Job {
    pub id: i64,
    /// 0 queued, 1 started, 2 completed, 3 failed.
    pub status: i64,
    pub parameters: String,
    pub result: Option<String>,
    pub artifacts: Vec<Value>,
    name: String,
}

/// All that is in it.
pub struct Original {
    pub jobs: Vec<Job>,
}

impl Job {
    fn times(&self) -> (i64, Option<i64>, Option<i64>) {
        let created = 1_660_000_000 + self.id * 7;
        (created, (self.status > 0).then_some(created + 2), (self.status > 1).then_some(created + 5))
    }

    fn user(&self) -> i64 {
        1 + self.id % 2
    }

    fn priority(&self) -> i64 {
        self.id % 100
    }

    /// What `GET /jobs/get` has to say of it, but for a job that was left started.
    pub fn answer(&self) -> Value {
        let (created, started, completed) = self.times();
        let ended = self.status > 1;
        let statuses = ["queued", "started", "completed", "failed"];
        json!({
            "status": "ok",
            "job": {
                "id": self.id,
                "status": statuses[usize::try_from(self.status).unwrap()],
                "priority": self.priority(),
                "name": self.name,
                "parameters": serde_json::from_str::<Value>(&self.parameters).unwrap(),
                "created": created,
                "started": started,
                "completed": completed,
                "userID": self.user(),
            },
            "result": ended.then(|| self.result.clone().unwrap_or_default()),
            "artifacts": ended.then(|| self.artifacts.clone()),
        })
    }

    fn row(&self) -> String {
        let (created, started, completed) = self.times();
        let number = |number: Option<i64>| number.map_or("null".to_owned(), |number| number.to_string());
        let (started, completed) = (number(started), number(completed));
        let (name, parameters) = (literal(&self.name), literal(&self.parameters));
        let (id, status, priority, user) = (self.id, self.status, self.priority(), self.user());
        format!("({id}, {status}, {priority}, {name}, {parameters}, {created}, {started}, {completed}, {user})")
    }
}

/// A text byte for byte.
fn literal(text: &str) -> String {
    let mut hex = "_utf8mb4 x'".to_owned();
    for byte in text.bytes() {
        write!(hex, "{byte:02X}").unwrap();
    }
    hex + "'"
}

/// Texts that a conversion may get wrong.
fn odd(number: i64) -> String {
    match number % 8 {
        0 => String::new(),
        1 => "plain\n".to_owned(),
        2 => "\u{1f980}\u{e9}e\u{301} \u{65e5}\u{672c}\n\u{2028}".to_owned(),
        3 => "it's \"quoted\" \\ and \\n; drop table jobs; -- `x` ? % $1 {now}".to_owned(),
        4 => "tab\t cr\r\n bell\u{7} nul\0 esc\u{1b}[1m del\u{7f}\n".to_owned(),
        5 => "  \n ".to_owned(),
        6 if number % 400 == 6 => "60 KiB: \u{1f980}".repeat(60 * 1024 / 12),
        6 => "<a href='x'>&amp;</a>".to_owned(),
        _ => "{\"text\": \"\\u0000\", \"written\": 1}".to_owned(),
    }
}

/// A few of a hundred are queued or were left started.
fn job(id: i64, artifact: &mut i64) -> Job {
    let status = match id % 100 {
        7 => 0,
        8 if id % 1000 == 8 => 1,
        last => 2 + last % 2,
    };
    let result = match status {
        2 if id % 10 != 4 => Some(odd(id / 2)),
        3 if id % 50 != 1 => Some(format!("exit status 3{}\n\nJob directory: /tmp/jobmgr-{id}", odd(id / 2))),
        _ => None,
    };
    let names = if status == 2 && id % 3 == 0 { 1 + id % 2 } else { 0 };
    let artifacts = (0..names).map(|number| self::artifact(artifact, id, number)).collect();
    let parameters = json!({ "message": odd(id), "n": id.to_string() }).to_string();
    Job { id, status, parameters, result, artifacts, name: if id % 5 == 0 { "gone \u{e9}" } else { "echo" }.to_owned() }
}

fn artifact(last: &mut i64, job: i64, number: i64) -> Value {
    // Not all ids are in use.
    *last += 1 + job % 2;
    json!({
        "id": *last,
        "name": format!("{number}/\u{1f980} it's.png"),
        "mime": "image/png",
        "size": job * 10,
        "uuid": format!("7cc4360d-c5cf-4c9d-b073-{:012}", *last),
        "created": 1_660_000_004 + job * 7,
        "jobID": job,
    })
}

fn artifact_row(artifact: &Value) -> String {
    let text = |key: &str| literal(artifact[key].as_str().unwrap());
    let (name, mime, uuid) = (text("name"), text("mime"), text("uuid"));
    let (id, size, created, job) = (&artifact["id"], &artifact["size"], &artifact["created"], &artifact["jobID"]);
    format!("({id}, {name}, {mime}, {size}, {uuid}, {created}, {job})")
}

impl Original {
    /// Makes its tables and about so many jobs in an empty database.
    pub fn make(server: &DatabaseServer, database: &str, jobs: i64) -> Original {
        let mut artifact = 0;
        let ids = (1..).filter(|id| id % 97 != 0).take(usize::try_from(jobs).unwrap());
        let original = Original { jobs: ids.map(|id| job(id, &mut artifact)).collect() };
        server.sql(database, SCHEMA);
        for some in original.jobs.chunks(200) {
            // Not `sql`, whose complaint would be megabytes.
            server.try_sql(database, &rows(some)).unwrap();
        }
        let (job, artifact) = (original.last_id() + DELETED + 1, artifact + DELETED + 1);
        server.sql(
            database,
            &format!("alter table jobs auto_increment = {job}; alter table artifacts auto_increment = {artifact}"),
        );
        original
    }

    /// The highest id of a job.
    pub fn last_id(&self) -> i64 {
        self.jobs.last().unwrap().id
    }

    /// How many jobs have this status.
    pub fn count(&self, status: i64) -> usize {
        self.jobs.iter().filter(|job| job.status == status).count()
    }

    pub fn artifacts(&self) -> impl Iterator<Item = &Value> {
        self.jobs.iter().flat_map(|job| &job.artifacts)
    }
}

fn rows(jobs: &[Job]) -> String {
    let join = |rows: Vec<String>, into: &str| match rows.is_empty() {
        true => String::new(),
        false => format!("insert into {into} values {};\n", rows.join(",\n")),
    };
    let results = jobs.iter().filter_map(|job| Some(format!("({}, {})", literal(job.result.as_ref()?), job.id)));
    let artifacts = jobs.iter().flat_map(|job| &job.artifacts).map(artifact_row);
    [
        join(jobs.iter().map(Job::row).collect(), "jobs"),
        join(results.collect(), "results (data, jobID)"),
        join(artifacts.collect(), "artifacts"),
    ]
    .concat()
}
