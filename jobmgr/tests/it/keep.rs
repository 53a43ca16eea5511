//! Retention, the sweep of the store, `jobmgr gc` and `jobmgr backup`, by the real binary.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::TryStreamExt;
use jobmgr::blobs::Blobs;
use jobmgr::config::{Config, Database};
use jobmgr::domain::job::{Job, Status};
use jobmgr::domain::keys;
use jobmgr::store::Store;

use crate::support::client::Client;
use crate::support::databases::Kind;
use crate::support::s3::S3;
use crate::support::server::{Home, Server, eventually};

const HOUR: Duration = Duration::from_secs(3600);

/// Two artifacts, and output that is too large for the database.
const LEAVES: &str = "cd \"$JOBMGR_ARTIFACTS_DIR\"; echo one > a; echo two > b; head -c 100000 /dev/zero";

/// What `jobmgr gc` prints, without its verb; the last line has the totals.
fn gc(home: &Home, arguments: &[&str]) -> Vec<String> {
    let mut command = home.jobmgr(&["gc"]);
    let output = command.args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let verb = if arguments.is_empty() { "removed " } else { "would remove " };
    text(&output.stdout).lines().map(|line| line.strip_prefix(verb).expect(line).to_owned()).collect()
}

/// Without ages, which differ from one look to the next.
fn ageless(lines: &[String]) -> Vec<String> {
    let age = |line: &String| match (line.split_once("', "), line.split_once(" ago)")) {
        (Some((before, rest)), Some((_, after))) => {
            format!("{before}', {}{after}", rest.split(' ').next().unwrap_or_default())
        }
        _ => line.clone(),
    };
    lines.iter().map(age).collect()
}

/// The keys of `object` lines.
fn objects(lines: &[String]) -> BTreeSet<String> {
    let key = |line: &String| Some(line.strip_prefix("object ")?.split_once(',')?.0.to_owned());
    lines.iter().filter_map(key).collect()
}

/// The ids of `job` lines, or of those that begin otherwise.
fn jobs(lines: &[String], beginning: &str) -> Vec<i64> {
    let id = |line: &String| line.strip_prefix(beginning)?.split(' ').next()?.parse().ok();
    lines.iter().filter_map(id).collect()
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(1).build().unwrap().block_on(work)
}

fn config(home: &Home) -> Config {
    let mut config = Config::load(home.dir.path(), std::iter::empty()).unwrap();
    let file = format!("sqlite:{}", home.path("jobmgr.db").display());
    config.database.url.get_or_insert(file);
    config.storage.url.get_or_insert(format!("file:{}", home.path("artifacts-store").display()));
    config
}

/// A job as its row has it, whatever database.
fn stored(home: &Home, id: i64) -> Option<Job> {
    block_on(async { Store::open(&config(home).database).await.unwrap().job(id).await.unwrap() })
}

fn installation(home: &Home) -> String {
    block_on(async { Store::open(&config(home).database).await.unwrap().installation().to_owned() })
}

fn put(home: &Home, objects: &[String]) {
    let blobs = Blobs::open(&config(home).storage, None).unwrap();
    block_on(async {
        for key in objects {
            blobs.put_bytes(key, Bytes::from("x")).await.unwrap();
        }
    });
}

/// All keys of the store, but the one that names it.
fn all_keys(home: &Home) -> BTreeSet<String> {
    let blobs = Blobs::open(&config(home).storage, None).unwrap();
    let list = block_on(blobs.list("").try_collect::<Vec<_>>()).unwrap();
    list.into_iter().map(|object| object.key).filter(|key| key != "store-id").collect()
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.path().is_dir() { folders.push(entry.path()) } else { found.push(entry.path()) }
        }
    }
    found
}

fn make_old(file: &Path, age: Duration) {
    let file = File::options().write(true).open(file).unwrap();
    file.set_modified(SystemTime::now() - age).unwrap();
}

fn edit(home: &Home, sql: &str) {
    let script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute(sys.argv[2]); c.commit()";
    let done = Command::new("python3").args(["-c", script]).arg(home.path("jobmgr.db")).arg(sql).status();
    assert!(done.unwrap().success());
}

/// As if the job had ended so much earlier.
fn age(home: &Home, id: i64, age: Duration) {
    edit(home, &format!("update jobs set finished_at = finished_at - {} where id = {id}", age.as_millis()));
}

#[test]
fn a_server_removes_what_is_old_by_itself_and_nothing_else() {
    let home = Home::new("[Retention]\nEvery = \"1s\"\nGrace = \"1s\"\nKeepFailed = \"1s\"\n");
    home.sh("short", LEAVES, "Keep = \"1s\"");
    home.sh("bare", LEAVES, "KeepArtifacts = \"1s\"");
    home.sh("stays", LEAVES, "");
    home.sh("fails", "exit 3", "");
    home.sh("fails-and-stays", "exit 3", "KeepFailed = \"30d\"");
    home.sh("long", "sleep 600", "Timeout = \"1h\"\nKeep = \"1s\"");
    let server = home.serve();
    let ids =
        ["short", "bare", "stays", "fails", "fails-and-stays"].map(|name| server.start(name, serde_json::json!({})));
    let [short, bare, stays, fails, failed_stays] = ids;
    for id in ids {
        server.wait(id);
    }
    let running = server.start("long", serde_json::json!({}));
    let queued = server.start("short", serde_json::json!({}));
    server.wait_for(running, "started");
    eventually("the old are gone", || stored(&home, short).is_none() && stored(&home, fails).is_none());
    eventually("the artifacts are gone", || stored(&home, bare).unwrap().ended.unwrap().artifacts.is_empty());
    let missing = server.client().get(&format!("/jobs/get?id={short}"));
    assert!(missing.status == 404 || missing.json()["error"].is_string(), "{missing:?}");
    let bare = stored(&home, bare).unwrap().ended.unwrap();
    assert_eq!(bare.warnings, ["its 2 artifacts were removed: KeepArtifacts = \"1s\" of its jobspec"]);
    let stays = server.wait(stays);
    assert_eq!((stays.result.len(), stays.artifacts.len()), (100_000, 2));
    assert_eq!(server.download(&stays.artifacts[1]), b"two\n");
    assert_eq!(server.wait(failed_stays).status, "failed");
    assert_eq!(
        (server.job(running)["job"]["status"].as_str(), server.job(queued)["job"]["status"].as_str()),
        (Some("started"), Some("queued"))
    );
    // Of `bare` the output is left, of `stays` all.
    eventually("only what is named is left", || all_keys(&home).len() == 4);
    assert_eq!(files(&home.path("artifacts-store")).len(), 5);
}

#[test]
fn a_dry_run_lists_what_goes_then() {
    let home = Home::new("[Retention]\nKeep = \"2d\"\nKeepFailed = \"4d\"\n");
    home.sh("any", LEAVES, "");
    home.sh("fails", "exit 3", "");
    home.sh("own", LEAVES, "Keep = \"9d\"\nKeepArtifacts = \"12h\"");
    let server = home.serve();
    let start = |name| server.start(name, serde_json::json!({}));
    let (young, old) = (start("any"), start("any"));
    let (failed, failed_long) = (start("fails"), start("fails"));
    let (own_old, own_bare, own_young) = (start("own"), start("own"), start("own"));
    for id in [young, old, failed, failed_long, own_old, own_bare, own_young] {
        server.wait(id);
    }
    let day = 24 * HOUR;
    for (id, time) in [
        (young, day),
        (old, 3 * day),
        (failed, 3 * day),
        (failed_long, 5 * day),
        (own_old, 10 * day),
        (own_bare, 3 * day),
    ] {
        age(&home, id, time);
    }
    let before = all_keys(&home);
    let dry = gc(&home, &["--dry-run"]);
    assert_eq!(all_keys(&home), before, "nothing went");
    assert_eq!(jobs(&dry, "job "), [old, failed_long, own_old]);
    assert_eq!(jobs(&dry, "artifacts of job "), [own_bare]);
    let line = |id: i64| ageless(&dry).into_iter().find(|line| line.contains(&format!("job {id} "))).unwrap();
    assert_eq!(
        line(old),
        format!("job {old} ('any', completed, with 2 artifacts of 8 bytes: [Retention] Keep = \"48h0m0s\"")
    );
    assert!(line(failed_long).ends_with("[Retention] KeepFailed = \"96h0m0s\""), "{dry:#?}");
    assert!(line(own_old).ends_with("2 artifacts of 8 bytes: Keep = \"216h0m0s\" of its jobspec"), "{dry:#?}");
    assert!(line(own_bare).ends_with("2 artifacts of 8 bytes: KeepArtifacts = \"12h0m0s\" of its jobspec"), "{dry:#?}");
    assert_eq!(
        dry.last().unwrap(),
        "in all: 3 jobs, 6 artifacts of 24 bytes, 0 objects of 0 bytes that belong to nothing"
    );
    assert_eq!(ageless(&gc(&home, &[])), ageless(&dry), "what was said is what goes");
    for id in [old, failed_long, own_old] {
        assert!(stored(&home, id).is_none());
    }
    assert_eq!(server.wait(young).artifacts.len() + server.wait(own_young).artifacts.len(), 4);
    assert_eq!((server.wait(own_bare).result.len(), server.wait(failed).status.as_str()), (100_000, "failed"));
    let gone = |key: &&String| [old, own_old].iter().any(|id| key.contains(&format!("/{id}/")));
    let bare = |key: &&String| key.contains(&format!("/{own_bare}/")) && !key.ends_with("stdout");
    let expected: BTreeSet<String> = before.iter().filter(|key| !gone(key) && !bare(key)).cloned().collect();
    assert_eq!(all_keys(&home), expected);
    assert_eq!(gc(&home, &["--dry-run"]).len(), 1, "nothing more is old");
}

#[test]
fn the_artifacts_that_are_oldest_make_room() {
    let home = Home::new("[Retention]\nMaxArtifactBytes = 2500\n");
    home.sh("kilobyte", "head -c 1000 /dev/zero > \"$JOBMGR_ARTIFACTS_DIR/k\"", "");
    let server = home.serve();
    let ids: Vec<i64> = (0..4).map(|_| server.start("kilobyte", serde_json::json!({}))).collect();
    for id in &ids {
        server.wait(*id);
    }
    age(&home, ids[2], HOUR);
    age(&home, ids[0], 2 * HOUR);
    let dry = gc(&home, &["--dry-run"]);
    assert_eq!(jobs(&dry, "artifacts of job "), [ids[0], ids[2]], "{dry:#?}");
    assert!(dry[0].ends_with(": [Retention] MaxArtifactBytes = 2500"), "{dry:#?}");
    assert_eq!(ageless(&gc(&home, &[])), ageless(&dry));
    let left = ids.iter().map(|id| server.wait(*id).artifacts.len()).collect::<Vec<_>>();
    assert_eq!(left, [0, 1, 0, 1]);
    assert_eq!(all_keys(&home).len(), 2);
}

/// A started job with attempt 3, an ended one, and objects by hand; `old` says of those put so far that they are old.
fn orphans_go_and_nothing_else(home: &Home, old: impl Fn()) {
    home.sh("leaves", LEAVES, "");
    home.sh("long", "[ $JOBMGR_ATTEMPT = 3 ] || kill -9 $PPID; sleep 600", "Timeout = \"1h\"");
    let server = home.serve();
    let ended = server.start("leaves", serde_json::json!({}));
    server.wait(ended);
    let running = server.start("long", serde_json::json!({}));
    eventually("the third attempt runs", || {
        stored(home, running).is_some_and(|job| job.attempt == 3 && job.status == Status::Started)
    });
    let queued = server.start("leaves", serde_json::json!({}));
    let installation = installation(home);
    let key = |job, attempt, name: &str| format!("{}/{name}", keys::of_attempt(&installation, job, attempt));
    let named = all_keys(home);
    assert_eq!(named.len(), 3, "two artifacts and the output");
    let stay = [
        key(running, 3, "0"),
        key(running, 4, "0"),
        key(queued, 0, "0"),
        key(queued, 1, "0"),
        key(queued + 1, 1, "0"),
        key(queued + 1000, 1, "0"),
        "jobs/other/1/1/0".to_owned(),
        format!("jobs/{installation}x/1/1/0"),
        format!("jobs/{installation}/what/1/0"),
        format!("{ended}/1f4344e2-01ff-4744-aaab-8e3ff2c2fbc8"),
        "else".to_owned(),
    ];
    let go = [
        key(ended, 1, "7"),
        key(ended, 1, "stderr"),
        key(ended, 2, "0"),
        key(running, 1, "0"),
        key(running, 2, "stdout"),
        key(0, 1, "0"),
    ];
    put(home, &stay);
    put(home, &go);
    old();
    let young = [key(ended, 1, "8"), key(running, 2, "8")];
    put(home, &young);
    let before = all_keys(home);
    let dry = gc(home, &["--dry-run"]);
    assert_eq!(objects(&dry), go.iter().cloned().collect(), "{dry:#?}");
    assert_eq!(all_keys(home), before);
    let mut removed = gc(home, &[]);
    let mut listed = dry;
    removed.sort();
    listed.sort();
    assert_eq!(removed, listed);
    let left: BTreeSet<String> = named.iter().chain(&stay).chain(&young).cloned().collect();
    assert_eq!(all_keys(home), left);
    let artifacts = server.wait(ended).artifacts;
    assert_eq!((artifacts.len(), server.wait(ended).result.len()), (2, 100_000));
}

#[test]
fn orphans_in_a_folder_go_after_their_grace_and_nothing_else() {
    let home = Home::new("[Retention]\nGrace = \"30m\"\n");
    let store = home.path("artifacts-store");
    orphans_go_and_nothing_else(&home, || files(&store).iter().for_each(|file| make_old(file, HOUR)));
    // Uploads that were never finished, of a job that runs and of one that is not there, and one that goes on.
    let installation = installation(&home);
    let folder = store.join("jobs").join(&installation);
    let other = store.join("jobs/other/1/1");
    let half = [folder.join("2/3/0#1"), folder.join("99/1/5#12"), folder.join("2/3/1#1"), other.join("0#1")];
    for file in &half {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "half").unwrap();
        make_old(file, HOUR);
    }
    make_old(&half[2], HOUR / 4);
    let expected: BTreeSet<String> =
        ["2/3/0#1", "99/1/5#12"].iter().map(|below| format!("jobs/{installation}/{below}")).collect();
    assert_eq!(objects(&gc(&home, &["--dry-run"])), expected);
    assert_eq!(objects(&gc(&home, &[])), expected);
    assert_eq!(half.map(|file| file.exists()), [false, false, true, true]);
    assert!(!folder.join("99").exists(), "no empty folder is left");
}

#[test]
fn orphans_in_a_bucket_go_after_their_grace_and_nothing_else() {
    let Some(s3) = S3::shared() else { return };
    let prefix = format!("keep-{}", uuid::Uuid::new_v4());
    let home = Home::new(&format!("[Retention]\nGrace = \"5s\"\n{}", s3.config(&prefix)));
    let blobs = Blobs::open(&config(&home).storage, None).unwrap();
    // The store's clock says when.
    let now = || block_on(blobs.clock_ms()).unwrap();
    orphans_go_and_nothing_else(&home, || {
        let put = now();
        eventually("they are old", || now() > put + 7_000);
    });
}

#[test]
fn jobs_on_a_server_go_by_the_rules_that_its_workers_publish() {
    let Some(postgres) = Kind::Postgres.shared() else { return };
    let url = postgres.fresh();
    let home = Home::new(&format!("[Retention]\nKeep = \"365d\"\n[Database]\nURL = \"{url}\"\n"));
    home.sh("short", LEAVES, "Keep = \"1h\"");
    let server = home.serve();
    let (old, young) = (server.start("short", serde_json::json!({})), server.start("short", serde_json::json!({})));
    server.wait(old);
    server.wait(young);
    let database = url.rsplit('/').next().unwrap();
    postgres.sql(database, &format!("update jobs set finished_at = finished_at - 7200000 where id = {old}"));
    // It has no jobspecs of its own, and the same store.
    let other = Home::new(&format!(
        "[Database]\nURL = \"{url}\"\n[Storage]\nURL = \"file:{}\"\n",
        home.path("artifacts-store").display()
    ));
    assert_eq!(jobs(&gc(&other, &["--dry-run"]), "job "), [old]);
    assert_eq!(jobs(&gc(&other, &[]), "job "), [old]);
    assert_eq!((stored(&home, old).is_none(), stored(&home, young).is_none()), (true, false));
    assert_eq!(all_keys(&home).len(), 3);

    let elsewhere = Home::new(&format!("[Database]\nURL = \"{url}\"\n"));
    let refused = elsewhere.jobmgr(&["gc"]).output().unwrap();
    let why = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(why.contains("is not the store that jobmgr on"), "{why}");

    let told = home.jobmgr(&["backup", "x"]).output().unwrap();
    let why = String::from_utf8(told.stderr).unwrap();
    assert_eq!(told.status.code(), Some(2));
    assert!(why.contains("pg_dump") && why.contains(database) && !why.contains("jobmgr-test"), "{why}");
    assert!(!home.path("x").exists());
}

#[test]
fn a_jobspec_that_cannot_be_read_keeps_its_jobs() {
    let home = Home::new("[Retention]\nKeep = \"1h\"\n[Worker]\nLease = \"1s\"\n");
    home.sh("x", "true", "Keep = \"30d\"");
    let server = home.serve();
    let id = server.start("x", serde_json::json!({}));
    server.wait(id);
    drop(server);
    age(&home, id, 2 * HOUR);
    home.spec("x", "Command = ");
    let alive = || block_on(async { Store::open(&config(&home).database).await.unwrap().offered().await.unwrap() });
    eventually("the server is forgotten", || alive().is_empty());
    assert_eq!(jobs(&gc(&home, &[]), "job "), [] as [i64; 0], "nobody knows how long");
    fs::remove_file(home.path("jobspecs/x.toml")).unwrap();
    assert_eq!(jobs(&gc(&home, &[]), "job "), [] as [i64; 0], "what the server said before it went still counts");
    let forget = async { Store::open(&config(&home).database).await.unwrap().forget_silent(Duration::ZERO).await };
    block_on(forget).unwrap();
    assert_eq!(jobs(&gc(&home, &[]), "job "), [id], "without a jobspec [Retention] says");
}

/// Submits until `until` is there; gives the ids.
fn submitting(server: &Server, until: PathBuf) -> std::thread::JoinHandle<Vec<i64>> {
    let address = server.address;
    std::thread::spawn(move || {
        let mut client = Client::connect(address);
        let mut ids = Vec::new();
        while !until.exists() {
            let answer = client.try_post("/jobs/start", &[("name", "x"), ("parameters", "{}")]).unwrap();
            ids.push(answer.json()["created"].as_i64().unwrap());
        }
        ids
    })
}

#[test]
fn a_backup_is_whole_while_jobs_are_submitted_and_can_be_put_back() {
    let home = Home::new("");
    home.sh("x", LEAVES, "");
    let mut server = home.serve();
    let first = server.start("x", serde_json::json!({}));
    server.wait(first);
    let clients: Vec<_> = (0..4).map(|_| submitting(&server, home.path("stop"))).collect();
    eventually("jobs are submitted", || stored(&home, first + 50).is_some());
    let backup = |file: &str| home.jobmgr(&["backup", file]).output().unwrap();
    let done = backup("one.backup");
    assert!(done.status.success(), "{done:?}");
    let said = String::from_utf8(done.stdout).unwrap();
    let size = fs::metadata(home.path("one.backup")).unwrap().len();
    assert!(said.contains("one.backup") && said.contains(&format!(": {size} bytes")), "{said}");
    fs::write(home.path("stop"), "").unwrap();
    let ids: Vec<i64> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
    let highest = *ids.iter().max().unwrap();

    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(home.path("one.backup")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let again = backup("one.backup");
    let why = String::from_utf8(again.stderr).unwrap();
    assert_eq!(again.status.code(), Some(1));
    assert!(why.contains("one.backup") && why.contains("it is there already"), "{why}");
    assert_eq!(fs::metadata(home.path("one.backup")).unwrap().len(), size, "it is as it was");
    let nowhere = backup("no/such/folder");
    assert_eq!(nowhere.status.code(), Some(1), "{nowhere:?}");
    let left = fs::read_dir(home.dir.path()).unwrap().flatten().map(|entry| entry.file_name().into_string().unwrap());
    assert_eq!(left.filter(|name| name.contains("backup")).collect::<Vec<_>>(), ["one.backup"]);

    // Back to that moment.
    server.kill();
    for name in ["jobmgr.db", "jobmgr.db-wal", "jobmgr.db-shm"] {
        drop(fs::remove_file(home.path(name)));
    }
    fs::copy(home.path("one.backup"), home.path("jobmgr.db")).unwrap();
    let database =
        Database { url: Some(format!("sqlite:{}", home.path("jobmgr.db").display())), ..Database::default() };
    let (count, last) = block_on(async {
        let store = Store::open(&database).await.unwrap();
        let last = store.highest_id().await.unwrap();
        for id in first..=last {
            assert_eq!(store.job(id).await.unwrap().expect("no id is missing").name, "x");
        }
        (last - first + 1, last)
    });
    assert!(count > 50 && last <= highest, "{count} jobs, up to {last}, {highest} were submitted");
    let server = home.serve();
    let read = server.wait(first);
    assert_eq!((read.status.as_str(), read.result.len()), ("completed", 100_000));
    assert_eq!(server.download(&read.artifacts[0]), b"one\n");
    let next = server.start("x", serde_json::json!({}));
    assert_eq!(next, last + 1);
}

#[test]
fn there_is_no_backup_of_nothing() {
    let home = Home::new("");
    let none = home.jobmgr(&["backup", "b"]).output().unwrap();
    let why = String::from_utf8(none.stderr).unwrap();
    assert!(why.contains("there is no database jobmgr.db yet"), "{why}");
    assert_eq!((none.status.code(), home.path("b").exists(), home.path("jobmgr.db").exists()), (Some(1), false, false));
}
