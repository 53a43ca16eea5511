//! The objects of the API server, and what is answered about them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::server::{Answer, Request};

type Fault = Box<dyn FnMut(&Request) -> Option<Answer> + Send>;

/// What the server has.
#[derive(Default)]
pub struct Objects {
    pub jobs: BTreeMap<String, Value>,
    pub pods: BTreeMap<String, Value>,
    /// The output of pods: seconds, and a line.
    logs: BTreeMap<String, Vec<(u64, String)>>,
    /// `POST jobs`, `GET pods`
    pub requests: Vec<String>,
    /// The selectors of lists of pods.
    pub selectors: Vec<String>,
    /// Answers in place of the server's own.
    pub fault: Option<Fault>,
    /// The answer to the next one of these is lost after it was carried out.
    pub lose: Option<String>,
    /// The next connections for a log break after so many bytes, the last one first.
    pub cuts: Vec<usize>,
    /// Containers do not hear SIGTERM.
    pub are_stubborn: bool,
    /// What is deleted is gone at once.
    pub vanish: bool,
    /// No more than so many objects in one answer.
    pub page: Option<usize>,
    /// Watches end when this changes.
    pub watch_cuts: u32,
    /// The versions that watches began with: `pods 7`.
    pub watched: Vec<String>,
    /// Nobody may watch.
    pub is_unwatchable: bool,
    /// The server ends.
    pub is_over: bool,
    history: History,
    uids: u32,
}

/// What has happened, by versions.
#[derive(Default)]
struct History {
    /// As it was at the last event.
    seen: BTreeMap<(&'static str, String), Value>,
    events: Vec<(u64, &'static str, Value)>,
    version: u64,
    /// What happened up to this version is forgotten.
    forgotten: u64,
}

impl Objects {
    /// Sets the state of the container of a job's pod.
    pub fn container(&mut self, key: &str, phase: &str, state: Value) {
        let status = self.status(key);
        status["phase"] = phase.into();
        status["containerStatuses"] =
            json!([{"name": "job", "state": state, "image": "", "imageID": "", "ready": true, "restartCount": 0}]);
    }

    pub fn run(&mut self, key: &str) {
        self.container(key, "Running", json!({"running": {}}));
    }

    pub fn exit(&mut self, key: &str, code: i32) {
        let phase = if code == 0 { "Succeeded" } else { "Failed" };
        self.container(key, phase, json!({"terminated": {"exitCode": code, "reason": "Error"}}));
    }

    pub fn status(&mut self, key: &str) -> &mut Value {
        &mut self.pods.get_mut(&pod_name(key)).unwrap()["status"]
    }

    /// One line more, written so many seconds after 2026 began.
    pub fn print(&mut self, key: &str, second: u64, line: &str) {
        self.logs.entry(pod_name(key)).or_default().push((second, line.to_owned()));
    }

    /// Only the lines from this second on are left.
    pub fn rotate(&mut self, key: &str, second: u64) {
        self.logs.get_mut(&pod_name(key)).unwrap().retain(|(time, _)| *time >= second);
    }

    pub fn count(&self, request: &str) -> usize {
        self.requests.iter().filter(|there| *there == request).count()
    }

    pub fn log_text(&self, pod: &str, since: Option<&str>) -> String {
        let lines = self.logs.get(pod).into_iter().flatten();
        let lines = lines.map(|(second, line)| (time(*second), line));
        let since = since.map(|since| since.trim_end_matches('Z').to_owned()).unwrap_or_default();
        lines.filter(|(time, _)| **time >= *since).map(|(time, line)| format!("{time} {line}\n")).collect()
    }

    pub fn is_log_over(&self, pod: &str) -> bool {
        self.pods.get(pod).is_none_or(|pod| pod["status"]["containerStatuses"][0]["state"]["terminated"].is_object())
    }

    /// Removes a Job and its pod without a trace.
    pub fn remove(&mut self, key: &str) {
        self.jobs.remove(key);
        self.pods.remove(&pod_name(key));
    }

    /// The version of now. Tests change objects as they like, so it is seen afterwards what has happened.
    pub fn version(&mut self) -> u64 {
        let History { seen, events, version, .. } = &mut self.history;
        let (jobs, pods) = (self.jobs.iter().map(|job| ("jobs", job)), self.pods.iter().map(|pod| ("pods", pod)));
        let now: BTreeMap<_, _> =
            jobs.chain(pods).map(|(kind, (name, object))| ((kind, name.clone()), object)).collect();
        let mut happens = |kind: &'static str, what: &str, object: &Value| {
            *version += 1;
            let mut object = object.clone();
            object["metadata"]["resourceVersion"] = version.to_string().into();
            let (api, name) = if kind == "jobs" { ("batch/v1", "Job") } else { ("v1", "Pod") };
            (object["apiVersion"], object["kind"]) = (api.into(), name.into());
            events.push((*version, kind, json!({"type": what, "object": object})));
        };
        for (place, object) in &now {
            match seen.get(place) {
                None => happens(place.0, "ADDED", object),
                Some(before) if before != *object => happens(place.0, "MODIFIED", object),
                Some(_) => {}
            }
        }
        for (place, object) in seen.iter().filter(|(place, _)| !now.contains_key(*place)) {
            happens(place.0, "DELETED", object);
        }
        *seen = now.into_iter().map(|(place, object)| (place, object.clone())).collect();
        *version
    }

    /// What happened after a version.
    pub fn events_after(&mut self, kind: &str, from: u64) -> Vec<Value> {
        self.version();
        if from < self.history.forgotten {
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410,
                "reason": "Expired", "message": "too old resource version"});
            return vec![json!({"type": "ERROR", "object": status})];
        }
        let events = self.history.events.iter().filter(|(version, about, _)| *version > from && *about == kind);
        events.map(|(_, _, event)| event.clone()).collect()
    }

    /// Watches end, and none may go on from before the next change.
    pub fn forget_history(&mut self) {
        self.history.forgotten = self.version() + 1;
        self.watch_cuts += 1;
    }

    /// Whether a fault stands in the way of this request.
    pub fn refuses(&mut self, request: &Request) -> bool {
        self.fault.as_mut().is_some_and(|fault| fault(request).is_some())
    }

    fn watch(&mut self, request: &Request, kind: &str) -> Answer {
        if self.is_unwatchable {
            return refuse(403, "Forbidden", &format!("{kind} is forbidden: User \"x\" cannot watch"));
        }
        assert_eq!(request.query("labelSelector"), Some("jobmgr/key"));
        let from = request.query("resourceVersion").unwrap();
        self.watched.push(format!("{kind} {from}"));
        Answer::Watch { kind: kind.to_owned(), from: from.parse().unwrap() }
    }

    fn create(&mut self, request: &Request, namespace: &str) -> Answer {
        let mut job = request.body.clone();
        let name = job["metadata"]["name"].as_str().unwrap().to_owned();
        assert_eq!(request.query("fieldValidation"), Some("Strict"));
        if self.jobs.contains_key(&name) {
            return refuse(409, "AlreadyExists", &format!("jobs.batch \"{name}\" already exists"));
        }
        self.uids += 1;
        job["metadata"]["uid"] = format!("uid-{}", self.uids).into();
        job["metadata"]["namespace"] = namespace.into();
        let metadata = json!({
            "name": pod_name(&name), "namespace": namespace, "labels": job["spec"]["template"]["metadata"]["labels"],
            "creationTimestamp": "2026-01-01T00:00:00Z",
        });
        let mut spec = job["spec"]["template"]["spec"].clone();
        spec["nodeName"] = "n1".into();
        let pod = json!({"metadata": metadata, "spec": spec, "status": {"phase": "Pending"}});
        self.pods.insert(pod_name(&name), pod);
        self.jobs.insert(name, job.clone());
        Answer::Json(201, job)
    }

    fn delete_job(&mut self, request: &Request, name: &str) -> Answer {
        let Some(job) = self.jobs.get_mut(name) else { return not_found("jobs.batch", name) };
        if let Some(uid) = request.body["preconditions"]["uid"].as_str()
            && job["metadata"]["uid"] != uid
        {
            return refuse(409, "Conflict", "the UID in the precondition does not match");
        }
        let is_foreground = request.body["propagationPolicy"] == "Foreground";
        job["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        if self.vanish || !is_foreground {
            self.remove(name);
        } else if !self.are_stubborn {
            self.terminate(&pod_name(name), 143);
        }
        Answer::Json(200, json!({"kind": "Status", "status": "Success"}))
    }

    fn terminate(&mut self, pod: &str, code: i32) {
        let Some(there) = self.pods.get_mut(pod) else { return };
        there["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        let key = pod.trim_end_matches("-pod").to_owned();
        self.exit(&key, code);
    }

    fn list(&mut self, request: &Request, kind: &str) -> Answer {
        let selector = request.query("labelSelector").unwrap_or_default().to_owned();
        let (objects, version) = if kind == "jobs" { (&self.jobs, "batch/v1") } else { (&self.pods, "v1") };
        let is_it = |object: &&Value| {
            let key = object["metadata"]["labels"]["jobmgr/key"].as_str().unwrap_or_default();
            match selector.split_once(" in (") {
                Some((_, keys)) => keys.trim_end_matches(')').split(',').any(|named| named == key),
                None => !key.is_empty(),
            }
        };
        let all: Vec<Value> = objects.values().filter(is_it).cloned().collect();
        let from: usize = request.query("continue").map_or(0, |token| token.parse().unwrap());
        // Without a limit it is all at once.
        let page = request.query("limit").and(self.page).unwrap_or(usize::MAX);
        let items: Vec<_> = all.iter().skip(from).take(page).cloned().collect();
        let next = if from + items.len() < all.len() { (from + items.len()).to_string() } else { String::new() };
        if kind == "pods" {
            self.selectors.push(selector);
        }
        let metadata = json!({"resourceVersion": self.version().to_string(), "continue": next});
        let kind = if kind == "jobs" { "JobList" } else { "PodList" };
        Answer::Json(200, json!({"apiVersion": version, "kind": kind, "metadata": metadata, "items": items}))
    }
}

pub fn answer(objects: &mut Objects, request: &Request) -> Answer {
    let answer = carry_out(objects, request);
    if objects.lose.is_some() && objects.lose.as_ref() == objects.requests.last() {
        objects.lose = None;
        return Answer::Close;
    }
    answer
}

fn carry_out(objects: &mut Objects, request: &Request) -> Answer {
    let parts: Vec<_> = request.path.trim_start_matches('/').split('/').collect();
    let at = parts.iter().position(|part| *part == "namespaces").expect("a path with a namespace");
    let (namespace, kind, rest) = (parts[at + 1], parts[at + 2], &parts[at + 3..]);
    let is_watch = request.query("watch") == Some("true");
    let method = if is_watch { "WATCH" } else { &request.method };
    objects.requests.push(format!("{method} {kind}{}", if rest.len() > 1 { "/log" } else { "" }));
    if let Some(fault) = &mut objects.fault
        && let Some(answer) = fault(request)
    {
        return answer;
    }
    match (request.method.as_str(), kind, rest) {
        ("POST", "jobs", _) if namespace == "nowhere" => refuse(404, "NotFound", "namespaces \"nowhere\" not found"),
        ("POST", "jobs", _) => objects.create(request, namespace),
        ("GET", "jobs", [name]) => {
            let there = objects.jobs.get(*name).cloned();
            there.map_or_else(|| not_found("jobs.batch", name), |job| Answer::Json(200, job))
        }
        ("GET", kind, []) if is_watch => objects.watch(request, kind),
        ("GET", kind, []) => objects.list(request, kind),
        ("DELETE", "jobs", [name]) => objects.delete_job(request, name),
        ("DELETE", "pods", [name]) if objects.pods.contains_key(*name) => {
            objects.terminate(name, 137);
            Answer::Json(200, json!({"kind": "Status", "status": "Success"}))
        }
        ("GET", "pods", [name, "log"]) => open_log(objects, request, name),
        (_, kind, [name, ..]) => not_found(kind, name),
        other => panic!("no answer to {other:?}"),
    }
}

fn open_log(objects: &Objects, request: &Request, name: &str) -> Answer {
    let Some(pod) = objects.pods.get(name) else { return not_found("pods", name) };
    assert_eq!((request.query("container"), request.query("timestamps")), (Some("job"), Some("true")));
    if !pod["status"]["containerStatuses"].is_array() {
        return refuse(400, "BadRequest", "container \"job\" in pod is waiting to start: ContainerCreating");
    }
    let follow = request.query("follow") == Some("true");
    Answer::Log { pod: name.to_owned(), follow, since: request.query("sinceTime").map(str::to_owned) }
}

pub fn refuse(code: u16, reason: &str, message: &str) -> Answer {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure"});
    let mut status = status;
    status["code"] = code.into();
    status["reason"] = reason.into();
    status["message"] = message.into();
    Answer::Json(code, status)
}

fn not_found(kind: &str, name: &str) -> Answer {
    refuse(404, "NotFound", &format!("{kind} \"{name}\" not found"))
}

fn pod_name(key: &str) -> String {
    format!("{key}-pod")
}

/// At most an hour after 2026 began.
fn time(second: u64) -> String {
    format!("2026-01-01T00:{:02}:{:02}.000000001Z", second / 60, second % 60)
}
