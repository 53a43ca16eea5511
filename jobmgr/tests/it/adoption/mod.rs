//! A database of the original jobmgr, taken over in place.

/// Adoption that was cut short.
mod halves;
/// What is adopted.
mod original;

use std::process::{Child, Command, Stdio};

use serde_json::Value;

use self::original::{DELETED, Original};
use crate::support::databases::{DatabaseServer, Kind, PASSWORD, USER};
use crate::support::server::{Home, Server, eventually};

/// A database of the original, and a folder to serve it from.
struct Case {
    server: &'static DatabaseServer,
    database: String,
    home: Home,
    original: Original,
}

impl Case {
    fn new(server: &'static DatabaseServer, jobs: i64) -> Case {
        let url = server.fresh();
        let database = url.rsplit('/').next().unwrap().to_owned();
        let original = Original::make(server, &database, jobs);
        let home = home(server, &database);
        Case { server, database, home, original }
    }

    fn sql(&self, statements: &str) -> String {
        self.server.sql(&self.database, statements)
    }

    fn check(&self) -> String {
        check(&self.home)
    }

    /// Serves, and runs nothing.
    fn serve(&self) -> Server {
        self.home.serve_by(self.home.jobmgr(&["serve", "--no-worker"]))
    }

    /// Whatever the original had is there as it was.
    fn is_all_there(&self, server: &Server) {
        std::thread::scope(|scope| {
            for part in self.original.jobs.chunks(self.original.jobs.len().div_ceil(3)) {
                scope.spawn(|| compare(server, part));
            }
        });
        let count = |table: &str| self.sql(&format!("select count(*) from {table}"));
        for table in ["jobs", "artifacts"] {
            assert_eq!(count(table), count(&format!("original_{table}")), "{table}");
        }
        assert_eq!(count("jobs"), self.original.jobs.len().to_string());
        assert_eq!(self.sql("select value from installation where name = 'adoption'"), "done");
    }
}

/// A folder with the original's own configuration.
fn home(server: &DatabaseServer, database: &str) -> Home {
    let port = server.port();
    let home = Home::new(&format!(
        "[Database]\nHost = \"127.0.0.1:{port}\"\nUsername = \"{USER}\"\nPassword = \"{PASSWORD}\"\n\
         Database = \"{database}\"\n"
    ));
    let parameter = "[[Parameter]]\nName = \"n\"\nType = \"string\"";
    home.sh("echo", "echo \"n $JOBMGR_PARAMETER_N\"; echo x > \"$JOBMGR_ARTIFACTS_DIR/x.txt\"", parameter);
    home
}

fn check(home: &Home) -> String {
    let output = home.jobmgr(&["check"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn compare(server: &Server, jobs: &[original::Job]) {
    let mut client = server.client();
    for job in jobs {
        let mut found = client.get(&format!("/jobs/get?id={}", job.id)).json();
        let mut expected = job.answer();
        if job.status == 1 {
            let result = found["result"].take();
            assert!(result.as_str().unwrap().contains("was left started"), "job {}: {result}", job.id);
            assert!(found["job"]["completed"].take().as_i64().unwrap() > 1_700_000_000);
            expected["job"]["status"] = "failed".into();
            expected["artifacts"] = Value::Array(Vec::new());
        }
        assert_eq!(found, expected, "job {}", job.id);
    }
}

fn adopts(kind: Kind) {
    let Some(server) = kind.shared() else { return };
    let case = Case::new(server, 10_000);
    let before = case.sql("show tables; checksum table jobs, results, artifacts");
    tells_before(&case, &before);
    let mut first = case.serve();
    case.is_all_there(&first);
    serves_its_files(&case, &first);
    let fields = "select status, reason, attempt, epoch, worker from jobs where status = 'failed'";
    assert_eq!(
        case.sql(&format!("{fields} and reason = 'worker_lost' limit 1")),
        "failed\tworker_lost\t1\t1\tNULL",
        "jobs left started"
    );
    first.kill();
    assert!(case.check().contains(&format!("{} jobs queued or started", case.original.count(0))), "{}", case.check());
    keeps_the_originals_tables(&case, &before);
    goes_on(&case);
}

/// `jobmgr check` says what would happen, and does not do it.
fn tells_before(case: &Case, before: &str) {
    let (queued, started) = (case.original.count(0), case.original.count(1));
    let (jobs, artifacts) = (case.original.jobs.len(), case.original.artifacts().count());
    assert!(queued > 0 && started > 0 && artifacts > 1000);
    let told = case.check();
    for words in [
        format!("a database of the original jobmgr with {jobs} jobs and {artifacts} artifacts"),
        "adopts it at its start".to_owned(),
        format!("{queued} queued jobs are run"),
        format!("{started} that were left started become failed (worker_lost)"),
        "original_jobs".to_owned(),
    ] {
        assert!(told.contains(&words), "{words:?} is missing: {told}");
    }
    assert_eq!(case.sql("show tables; checksum table jobs, results, artifacts"), before);
}

/// From where the original put them.
fn serves_its_files(case: &Case, server: &Server) {
    for artifact in case.original.artifacts().take(3) {
        let (job, uuid, size) = (&artifact["jobID"], artifact["uuid"].as_str().unwrap(), &artifact["size"]);
        let folder = case.home.path("artifacts-store").join(job.to_string());
        std::fs::create_dir_all(&folder).unwrap();
        let bytes = vec![b'x'; usize::try_from(size.as_i64().unwrap()).unwrap()];
        std::fs::write(folder.join(uuid), &bytes).unwrap();
        assert_eq!(server.download(artifact), bytes);
        let address = server.client().get(&format!("/artifacts/download?id={}", artifact["id"]));
        let answer = server.client().get(address.header("location").unwrap());
        assert_eq!(answer.header("etag"), Some(&*format!("\"{uuid}\"")));
    }
}

fn keeps_the_originals_tables(case: &Case, before: &str) {
    let after = case.sql("checksum table original_jobs, original_results, original_artifacts");
    let sums = |text: &str| -> Vec<String> {
        text.lines().filter_map(|line| Some(line.split_once('\t')?.1.to_owned())).collect()
    };
    assert_eq!(sums(&after), sums(before));
    assert_eq!(case.sql("select username from original_users order by id"), "root\nsecond");
    assert_eq!(case.sql("select name from roamer_history"), "first");
}

/// Queued jobs are run, new ids are higher than any that the original gave, and its tables may go.
fn goes_on(case: &Case) {
    case.sql("drop table original_artifacts, original_results, original_jobs, original_users");
    let server = case.home.serve();
    assert!(server.start("echo", serde_json::json!({"n": "new"})) > case.original.last_id() + DELETED);
    let queued = case.original.jobs.iter().find(|job| job.status == 0 && job.id % 5 != 0).unwrap();
    let ended = server.wait(queued.id);
    assert_eq!((&*ended.status, ended.result), ("completed", format!("n {}\n", queued.id)));
    let last = case.original.artifacts().map(|artifact| artifact["id"].as_i64().unwrap()).max().unwrap();
    assert!(ended.artifacts[0]["id"].as_i64().unwrap() > last + DELETED, "{:?}", ended.artifacts);
}

#[test]
fn mariadb_is_adopted() {
    adopts(Kind::MariaDb);
}

#[test]
fn mysql_is_adopted() {
    adopts(Kind::MySql);
}

/// What can't be converted is kept so that it can be read, and told.
#[test]
fn odd_rows_are_kept_and_told() {
    for kind in [Kind::MariaDb, Kind::MySql] {
        let Some(server) = kind.shared() else { return };
        odd_rows(&Case::new(server, 10));
    }
}

fn odd_rows(case: &Case) {
    let job = |id: i64, status: i64, name: &str, parameters: &str| {
        format!("insert into jobs values ({id}, {status}, 50, {name}, '{parameters}', 9, 10, null, 1);")
    };
    case.sql(
        &[
            "alter table results modify data longtext; set sql_mode = '';".to_owned(),
            job(101, 7, "'echo'", "{}") + "insert into results (data, jobID) values ('seven', 101);",
            job(102, 0, "'echo'", "no json"),
            job(103, 0, "'echo'", "{\"n\":null}"),
            job(104, 2, "repeat('é', 2000)", "{}"),
            job(105, 2, "'echo'", "{}") + "insert into results (data, jobID) values ('one', 105), ('two', 105);",
            job(106, 2, "'echo'", "{}") + "insert into results (data, jobID) values (repeat('é', 600000), 106);",
            job(107, 3, "'echo'", "{}") + "insert into results (data, jobID) values (repeat('é', 600000), 107);",
            "insert into artifacts values (900, 'a', repeat('m', 300), 5, 'u', 9, 105);".to_owned(),
        ]
        .concat(),
    );
    let server = case.home.serve();
    let result = |id: i64| server.wait(id).result;
    let log = case.home.log();
    let told = |id: i64, words: &str| {
        let line = log.lines().find(|line| line.contains(words) && line.contains(&format!("={id}")));
        assert!(line.is_some(), "{id} {words}: {log}");
    };
    told(101, "its status Some(7)");
    assert_eq!(result(101), "seven\nits status in the original jobmgr is unknown: 7");
    told(102, "its parameters can't be read");
    assert_eq!(server.wait(102).status, "failed");
    assert_eq!(case.sql("select reason, parameters from jobs where id = 102"), "corrupt_row\tno json");
    assert_eq!((result(103), server.job(103)["job"]["parameters"].to_string()), ("n \n".into(), "{\"n\":\"\"}".into()));
    told(104, "its name is longer");
    assert_eq!(server.job(104)["job"]["name"], "é".repeat(1024));
    told(105, "2 results");
    assert_eq!((result(105), server.job(105)["artifacts"][0]["mime"].to_string().len()), ("one".into(), 257));
    told(106, "its result is longer");
    assert_eq!(result(106), "é".repeat(512 << 10));
    assert_eq!(result(107), "é".repeat(600_000), "an error is not cut");
    told(900, "too long");
}

/// A database that is somebody else's, or half the original's, is refused before anything is changed.
#[test]
fn what_is_not_the_originals_is_refused() {
    for kind in [Kind::MariaDb, Kind::MySql] {
        let Some(server) = kind.shared() else { return };
        for (statements, words) in [
            (
                "drop table results, artifacts, jobs; create table jobs (id int, title text)",
                "neither this jobmgr's nor",
            ),
            ("alter table jobs drop column priority", "not the column priority of its table jobs"),
            ("drop table results", "not the column id of its table results"),
            ("create table original_artifacts (id int)", "a table original_artifacts, as which"),
            (
                "create table _sqlx_migrations (version bigint, success boolean)",
                "a table jobs of the original jobmgr among",
            ),
        ] {
            let case = Case::new(server, 3);
            case.sql(statements);
            let before = case.sql("show tables");
            let output = case.home.jobmgr(&["serve"]).output().unwrap();
            let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{complaint}");
            assert!(complaint.contains(words) && !complaint.contains(PASSWORD), "{complaint}");
            assert!(case.check().contains(words), "{}", case.check());
            assert_eq!(case.sql("show tables"), before);
        }
    }
}

/// Who may write rows only is told what is missing.
#[test]
fn rights_that_are_missing_are_named() {
    for kind in [Kind::MariaDb, Kind::MySql] {
        let Some(server) = kind.shared() else { return };
        let case = Case::new(server, 3);
        let database = &case.database;
        case.sql(&format!(
            "create user writer_{database}@'%' identified by '{PASSWORD}'; \
             grant select, insert, update, delete on {database}.* to writer_{database}@'%'"
        ));
        let mut serve = case.home.jobmgr(&["serve"]);
        let output = serve.env("JOBMGR_DATABASE__USERNAME", format!("writer_{database}")).output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{complaint}");
        assert!(complaint.contains("can't be renamed") && complaint.contains("ALTER, DROP, CREATE"), "{complaint}");
        // With all rights it is adopted as if nothing had been.
        case.is_all_there(&case.serve());
    }
}

/// A server that may end before it listens; killed with the test.
struct Started(Child);

impl Started {
    fn new(command: &mut Command) -> Started {
        Started(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
