//! What any caller does.

use futures_util::TryStreamExt;
use serde_json::{Value, json};

use super::types::{Code, Job, Problem, Status, SubmitBatch, SubmitJob};
use super::{ByteStream, Client, ClientInfo, Error};

/// All of it.
pub async fn all(client: &Client) {
    who(client).await;
    submit_and_wait(client).await;
    inputs(client).await;
    logs(client).await;
    events(client).await;
    artifacts(client).await;
    cancel(client).await;
    pages(client).await;
    problems(client).await;
}

fn submission(name: &str, parameters: Value) -> SubmitJob {
    let Value::Object(parameters) = parameters else { panic!("{parameters}") };
    SubmitJob::builder().name(name).parameters(parameters).try_into().unwrap()
}

async fn submit(client: &Client, name: &str, parameters: Value) -> Job {
    client.submit_job().body(submission(name, parameters)).send().await.unwrap().into_inner()
}

async fn ended(client: &Client, id: i64) -> Job {
    client.get_job().id(id).wait("30s").send().await.unwrap().into_inner()
}

async fn bytes(stream: ByteStream) -> Vec<u8> {
    stream.into_inner().map_ok(|piece| piece.to_vec()).try_concat().await.unwrap()
}

/// The generator knows JSON by one name only, and leaves a problem to be read.
pub async fn problem<T>(answer: Result<T, Error<ByteStream>>) -> Problem {
    match answer {
        Err(Error::ErrorResponse(answer)) => serde_json::from_slice(&bytes(answer.into_inner()).await).unwrap(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was served"),
    }
}

async fn who(client: &Client) {
    let me = client.get_me().send().await.unwrap();
    assert!(me.scopes.iter().any(|scope| scope == "admin"), "{me:?}");
    if me.token.is_some() {
        let stranger = Client::new(client.baseurl());
        assert_eq!(problem(stranger.get_me().send().await).await.code, Code::Unauthorized);
    }
    println!("who ok");
}

async fn submit_and_wait(client: &Client) {
    let mut body = submission("hello", json!({ "message": "good morning", "style": "loud" }));
    body.labels.insert("team".into(), "art".into());
    body.run_after = Some("2026-01-02T03:04:05Z".parse().unwrap());
    let key = format!("rust {} {}", module_path!(), std::process::id());
    let once = || client.submit_job().wait("30s").idempotency_key(&*key).body(body.clone());
    let first = once().send().await.unwrap();
    assert_eq!((first.status().as_u16(), first.status), (201, Status::Completed));
    assert_eq!(first.result.as_deref(), Some("GOOD MORNING!!!\n"));
    assert!(first.created > body.run_after.unwrap());
    let again = once().send().await.unwrap();
    assert_eq!((again.status().as_u16(), again.id), (200, first.id));
    let retried = client.retry_job().id(first.id).send().await.unwrap();
    assert_eq!(retried.retry_of, Some(first.id));
    println!("submit and wait ok");
}

async fn inputs(client: &Client) {
    let file = client.upload_input().name("notes.txt").body("one two\nthree\n").send().await.unwrap();
    assert_eq!((file.name.as_str(), file.size), ("notes.txt", 14));
    let id = submit(client, "word-count", json!({ "file": file.id })).await.id;
    assert_eq!(ended(client, id).await.result.as_deref(), Some("notes.txt: 2 lines, 3 words\n"));
    assert_eq!(problem(client.delete_input().id(file.id).send().await).await.code, Code::Conflict);
    println!("inputs ok");
}

async fn logs(client: &Client) {
    let id = submit(client, "countdown", json!({ "seconds": 1 })).await.id;
    let stream = client.get_logs().id(id).follow(true).send().await.unwrap().into_inner();
    assert_eq!(bytes(stream).await, b"1\nliftoff\n");
    assert_eq!(ended(client, id).await.progress.unwrap().percent, 100.0);
    println!("logs ok");
}

/// An event: its id, its kind, its data.
type Event = (String, String, Value);

/// Follows a job from an event on, until `enough` or to its end.
async fn follow(client: &Client, id: i64, last: Option<&str>, enough: impl Fn(&str) -> bool) -> Vec<Event> {
    let call = client.follow_job().id(id);
    let call = if let Some(last) = last { call.last_event_id(last) } else { call };
    let mut pieces = call.send().await.unwrap().into_inner().into_inner();
    let (mut events, mut text) = (Vec::new(), String::new());
    while let Some(piece) = pieces.try_next().await.unwrap() {
        text.push_str(std::str::from_utf8(&piece).unwrap());
        while let Some((block, rest)) = text.split_once("\n\n") {
            let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            let data = field("data").map(|data| serde_json::from_str(data).unwrap());
            events.extend(data.map(|data| (field("id").unwrap().into(), field("event").unwrap().into(), data)));
            text = rest.to_owned();
            if events.last().is_some_and(|(_, kind, _): &Event| enough(kind)) {
                return events;
            }
        }
    }
    events
}

async fn events(client: &Client) {
    let id = submit(client, "countdown", json!({ "seconds": 1 })).await.id;
    // The connection is closed while the job runs; nothing is missing and nothing comes twice.
    let mut all = follow(client, id, None, |kind| kind == "log").await;
    let last = all.last().unwrap().0.clone();
    all.extend(follow(client, id, Some(&last), |_| false).await);
    let texts = |wanted: &str, field: &str| -> Vec<String> {
        let data = all.iter().filter(|(_, kind, _)| kind == wanted).map(|(_, _, data)| &data[field]);
        data.map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(texts("status", "status"), ["queued", "started", "completed"]);
    assert_eq!(texts("log", "text").concat(), "1\nliftoff\n");
    let (last, kind, _) = all.last().unwrap();
    assert_eq!(kind, "end");
    let over = client.follow_job().id(id).last_event_id(last).send().await.unwrap();
    assert_eq!(over.status().as_u16(), 204);
    println!("events ok");
}

async fn artifacts(client: &Client) {
    let id = submit(client, "image-generator", json!({ "message": "hi" })).await.id;
    assert_eq!(ended(client, id).await.status, Status::Completed);
    let list = client.list_artifacts().id(id).send().await.unwrap();
    let artifact = &list.items[0];
    assert_eq!(artifact.mime, "image/png");
    let picture = bytes(client.get_artifact().id(artifact.id).send().await.unwrap().into_inner()).await;
    assert!(picture.starts_with(b"\x89PNG") && picture.len() as u64 == artifact.size);
    let zip = bytes(client.zip_artifacts().id(id).send().await.unwrap().into_inner()).await;
    assert!(zip.starts_with(b"PK") && zip.len() > picture.len());
    assert_eq!(client.delete_job().id(id).send().await.unwrap().status().as_u16(), 204);
    assert_eq!(problem(client.get_artifact().id(artifact.id).send().await).await.code, Code::NotFound);
    println!("artifacts ok");
}

async fn cancel(client: &Client) {
    let id = submit(client, "countdown", json!({ "seconds": 600 })).await.id;
    client.cancel_job().id(id).send().await.unwrap();
    let job = ended(client, id).await;
    assert_eq!((job.status, job.reason.as_deref()), (Status::Canceled, Some("canceled")));
    let refused = problem(client.cancel_job().id(id).send().await).await;
    assert_eq!((refused.code, refused.job_status), (Code::Conflict, Some(Status::Canceled)));
    println!("cancel ok");
}

async fn pages(client: &Client) {
    let name = format!("rust-{}-{}", module_path!().replace("::", "-"), std::process::id());
    let mut job = submission("sysinfo", json!({}));
    job.labels.insert("pages".into(), name.clone());
    let batch = SubmitBatch::builder().jobs(vec![job; 5]);
    let ids = client.submit_batch().body(batch).send().await.unwrap().into_inner().ids;
    let mut seen = Vec::new();
    let mut cursor = None;
    loop {
        let list = client.list_jobs().label(format!("pages:{name}")).limit(std::num::NonZeroU32::new(2).unwrap());
        let list = if let Some(cursor) = cursor { list.cursor(cursor) } else { list };
        let page = list.send().await.unwrap().into_inner();
        seen.extend(page.items.iter().map(|job| job.id));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    seen.reverse();
    assert_eq!(seen, ids);
    println!("pages ok");
}

async fn problems(client: &Client) {
    let unknown = problem(client.submit_job().body(submission("nope", json!({}))).send().await).await;
    assert_eq!((unknown.code, unknown.status), (Code::UnknownJob, 404));
    let body = submission("hello", json!({ "style": "quiet", "mesage": "x" }));
    let wrong = problem(client.submit_job().body(body).wait("soon").send().await).await;
    let mut fields: Vec<&str> = wrong.errors.iter().map(|error| error.field.as_str()).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["parameters.mesage", "parameters.style", "wait"]);
    println!("problems ok");
}
