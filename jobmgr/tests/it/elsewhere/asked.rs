use jobmgr::domain::job::Status;
use serde_json::json;

use super::{Asking, CONFIG, Site, get, put, sha256, url};
use crate::support::processes::{Signal, signal};
use crate::support::server::eventually;

#[test]
fn what_is_granted_uploaded_and_committed_is_an_artifact() {
    for site in [Some(Site::new(CONFIG)), Site::on_s3("elsewhere-asked")].into_iter().flatten() {
        let server = site.home.serve();
        let asking = Asking::begin(&site, &server);
        let first = asking.ok("artifact.grant", json!({"name": "a/first.png"}));
        let more = asking.ok("artifact.grant", json!({"count": 3, "max_bytes": 10}));
        let more = more["grants"].as_array().unwrap();
        assert_eq!((first["slot"].as_u64(), more[2]["slot"].as_u64()), (Some(0), Some(3)));
        for (grant, body) in [(&first, &b"the first"[..]), (&more[0], b"second"), (&more[1], b""), (&more[2], b"x")] {
            assert!(matches!(put(url(grant), body), 200 | 201));
        }
        let known = json!({"name": "a/first.png", "size": 9, "sha256": sha256(b"the first").to_uppercase()});
        let committed = asking.ok("artifact.commit", known.clone());
        assert_eq!(committed, json!({"size": 9, "sha256": sha256(b"the first"), "mime": "image/png"}));
        assert_eq!(asking.ok("artifact.commit", known), committed, "once more changes nothing");
        asking.ok("artifact.commit", json!({"name": "second", "slot": 1, "size": 6}));
        asking.ok("artifact.commit", json!({"name": "empty", "slot": 2, "size": 0}));
        let read = asking.ok("artifact.read", json!({"slot": 1, "offset": 2, "length": 3}));
        assert_eq!(read, json!({"size": 6, "base64": "Y29u"}));

        let job = asking.end(&server);
        assert_eq!(job.status, Status::Completed, "{}", site.home.log());
        let artifacts = job.ended.unwrap().artifacts;
        let shown: Vec<_> = artifacts.iter().map(|one| (one.name.as_str(), one.size, one.sha256.clone())).collect();
        let expected =
            [("a/first.png", 9, sha256(b"the first")), ("empty", 0, sha256(b"")), ("second", 6, sha256(b"second"))];
        assert_eq!(shown, expected);
        let listed = server.job(asking.id)["artifacts"].as_array().unwrap().clone();
        assert_eq!(listed.len(), 3);
    }
}

#[test]
fn what_is_not_what_it_should_be_is_refused() {
    let site = Site::new(&format!("{CONFIG}MaxArtifacts = 3\nMaxArtifactBytes = 100\n"));
    let server = site.home.serve();
    let asking = Asking::begin(&site, &server);
    let refused = |method: &str, json, kind: &str, text: &str| {
        let (was, told) = asking.refused(method, json);
        assert!(was == kind && told.contains(text), "{was}: {told}");
    };
    let grant = asking.ok("artifact.grant", json!({"name": "a", "max_bytes": 10}));
    refused("artifact.commit", json!({"name": "a", "size": 3}), "Failed", "nothing was uploaded with grant 0");
    assert_eq!(asking.ok("artifact.read", json!({"name": "a"})), json!(null));
    assert_eq!(put(url(&grant), b"abc"), 201);
    refused("artifact.commit", json!({"name": "a", "size": 4}), "Failed", "has 3 bytes, not 4");
    refused("artifact.commit", json!({"name": "a", "size": 3, "sha256": sha256(b"x")}), "Failed", &sha256(b"abc"));
    refused("artifact.commit", json!({"name": "a", "size": 3, "sha256": "12"}), "Invalid", "64 hexadecimal digits");
    refused("artifact.commit", json!({"name": "../a", "slot": 0, "size": 3}), "Invalid", "is no name of an artifact");
    refused("artifact.commit", json!({"name": "b", "size": 3}), "Invalid", "there is no grant for 'b'");
    refused("artifact.commit", json!({"name": "a", "slot": 9, "size": 3}), "Invalid", "there is no grant 9");
    refused("artifact.grant", json!({"name": "/etc"}), "Invalid", "is no name of an artifact");
    refused("artifact.grant", json!({"name": "b", "count": 2}), "Invalid", "either 'name' or 'count'");
    refused("artifact.grant", json!({"count": 0}), "Invalid", "'count' must be 1 to 1000");
    refused("artifact.grant", json!({"ttl_s": 700_000}), "Invalid", "'ttl_s' must be 1 to 604800");
    refused("artifact.grant", json!({"max": 1}), "Invalid", "unknown field `max`");
    asking.ok("artifact.commit", json!({"name": "a", "size": 3}));
    refused("artifact.commit", json!({"name": "a", "size": 4}), "Invalid", "committed already");
    refused("artifact.grant", json!({"name": "a"}), "Invalid", "committed already");

    // Files of this machine beside it.
    let path = site.home.path("config.toml");
    refused("artifact.put", json!({"name": "a", "path": path}), "Invalid", "'a' was uploaded already");
    refused("artifact.put", json!({"name": "b", "path": site.home.path("none")}), "Failed", "none: ");
    refused("artifact.put", json!({"name": "b", "path": path}), "Failed", "artifacts may have 100 in all");
    refused("artifact.put", json!({"name": "b", "path": "/dev/zero"}), "Failed", "not a plain file");
    std::fs::write(site.home.path("small"), "small").unwrap();
    asking.ok("artifact.put", json!({"name": "b.txt", "path": site.home.path("small")}));
    let more = asking.ok("artifact.grant", json!({"count": 3}));
    for n in 0..3 {
        assert_eq!(put(url(&more["grants"][n]), &[b'x'; 40]), 201);
    }
    refused("artifact.commit", json!({"name": "b.txt", "slot": 1, "size": 40}), "Invalid", "is in artifacts/ already");
    asking.ok("artifact.commit", json!({"name": "c", "slot": 1, "size": 40}));
    refused("artifact.commit", json!({"name": "c", "slot": 2, "size": 40}), "Invalid", "an artifact 'c' already");
    refused("artifact.commit", json!({"name": "d", "slot": 2, "size": 70}), "Invalid", "the limit is 100 bytes");
    asking.ok("artifact.commit", json!({"name": "d", "slot": 2, "size": 40}));
    refused("artifact.commit", json!({"name": "e", "slot": 3, "size": 1}), "Invalid", "the limit is 3");

    // Four files in all: the three of elsewhere and the one of here.
    let job = asking.end(&server);
    assert_eq!(job.status, Status::Failed);
    assert!(job.ended.unwrap().error.unwrap().contains("too many artifacts: 4 files; the limit is 3"));
    let left = site.home.objects_of(asking.id).join("1/g");
    eventually("uploads of refused artifacts are gone", || std::fs::read_dir(&left).map_or(0, Iterator::count) == 0);
}

#[test]
fn addresses_of_the_server_are_good_for_one_object_and_for_a_time() {
    let site = Site::new(CONFIG);
    let server = site.home.serve();
    let asking = Asking::begin(&site, &server);
    let grant = asking.ok("artifact.grant", json!({"name": "a", "max_bytes": 10}));
    let url = url(&grant);
    assert_eq!(put(url, &[0; 11]), 413, "too large");
    let path = &url[url.find("/artifacts").unwrap()..];
    let mut client = server.client();
    assert_eq!(client.try_send("POST", path, "", b"").unwrap().status, 405);
    for (from, to) in [("slot=0", "slot=1"), ("max=10", "max=99"), ("attempt=1", "attempt=2"), ("&signature=", "&s=")] {
        assert!(url.contains(from), "{url}");
        assert_eq!(put(&url.replace(from, to), b"forged"), 403, "{to}");
    }
    assert_eq!(put(url, b"0123456789"), 201, "just as large as it may be");
    let short = asking.ok("artifact.grant", json!({"name": "b", "ttl_s": 1}));
    eventually("it expires", || put(super::url(&short), b"late") == 403);
    let again = asking.ok("artifact.grant", json!({"name": "b"}));
    assert_eq!(again["slot"], short["slot"]);
    assert_eq!(put(super::url(&again), b"renewed"), 201);
    asking.ok("artifact.commit", json!({"name": "b", "size": 7}));
    let job = asking.end(&server);
    let artifacts = job.ended.unwrap().artifacts;
    assert_eq!(artifacts.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["b"]);
    assert_eq!(put(url, b"after"), 410, "its job has ended");
    let left = site.home.objects_of(asking.id).join("1/g");
    eventually("what was not committed is gone", || {
        let names = std::fs::read_dir(&left).unwrap().flatten().map(|entry| entry.file_name());
        names.collect::<Vec<_>>() == ["1"]
    });
}

#[test]
fn addresses_of_a_bucket_can_not_be_forged_and_expire() {
    let Some(site) = Site::on_s3("elsewhere-forged") else { return };
    let server = site.home.serve();
    let asking = Asking::begin(&site, &server);
    let grants = asking.ok("artifact.grant", json!({"count": 2, "max_bytes": 4, "ttl_s": 600}));
    let first = url(&grants["grants"][0]);
    assert!(first.contains("/g/0?") && !first.contains("artifacts/upload"), "{first}");
    assert_eq!(put(&first.replace("/g/0?", "/g/1?"), b"forged"), 403);
    assert_eq!(put(&first.replace("X-Amz-Expires=600", "X-Amz-Expires=6000"), b"forged"), 403);
    assert_eq!(put(first, b"too large"), 200, "the bucket takes it");
    let (kind, text) = asking.refused("artifact.commit", json!({"name": "a", "slot": 0, "size": 9}));
    assert!(kind == "Invalid" && text.contains("for at most 4"), "but jobmgr does not: {text}");
    let (kind, text) = asking.refused("artifact.commit", json!({"name": "a", "slot": 0, "size": 4}));
    assert!(kind == "Failed" && text.contains("has 9 bytes, not 4"), "{text}");
    let short = asking.ok("artifact.grant", json!({"ttl_s": 1}));
    eventually("it expires", || put(url(&short), b"late") == 403);
    let job = asking.end(&server);
    assert!(job.ended.unwrap().artifacts.is_empty());
}

#[test]
fn grants_and_commits_outlive_the_server() {
    for site in [Some(Site::new(CONFIG)), Site::on_s3("elsewhere-outlive")].into_iter().flatten() {
        let mut server = site.home.serve();
        let address = server.address;
        let asking = Asking::begin(&site, &server);
        let grants = asking.ok("artifact.grant", json!({"count": 2}))["grants"].clone();
        let named = asking.ok("artifact.grant", json!({"name": "named"}));
        assert!(matches!(put(url(&grants[0]), b"before"), 200 | 201));
        let before = json!({"name": "before", "slot": 0, "size": 6, "sha256": sha256(b"before")});
        asking.ok("artifact.commit", before.clone());
        signal(server.pid(), Signal::KILL);
        server.exit();
        let server = site.serve_at(address);
        // The executor is asked again once the job is taken over.
        asking.ok("artifact.commit", before);
        let (_, text) = asking.refused("artifact.commit", json!({"name": "before", "slot": 1, "size": 5}));
        assert!(text.contains("already"), "{text}");
        for grant in [&grants[1], &named] {
            assert!(matches!(put(url(grant), b"after"), 200 | 201));
        }
        asking.ok("artifact.commit", json!({"name": "after", "slot": 1, "size": 5}));
        asking.ok("artifact.commit", json!({"name": "named", "size": 5}));
        assert_eq!(asking.ok("artifact.grant", json!({}))["slot"], 3, "numbers go on");
        let job = asking.end(&server);
        assert_eq!((job.status, job.attempt), (Status::Completed, 1), "{}", site.home.log());
        let names: Vec<_> = job.ended.unwrap().artifacts.into_iter().map(|one| one.name).collect();
        assert_eq!(names, ["after", "before", "named"]);
    }
}

#[test]
fn input_files_can_be_had_by_their_addresses() {
    for site in [Some(Site::new(CONFIG)), Site::on_s3("elsewhere-inputs")].into_iter().flatten() {
        let server = site.home.serve();
        let large: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
        let asking = Asking::begin_with(&site, &server, &[("a.csv", b"one"), ("A.CSV", b""), ("large.bin", &large)]);
        let granted = asking.ok("input.grant", json!({}))["inputs"].clone();
        let granted = granted.as_array().unwrap();
        let names: Vec<_> = granted.iter().map(|input| input["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["a.csv", "2-A.CSV", "large.bin"], "as they are called in JOBMGR_INPUTS_DIR");
        for (input, content) in granted.iter().zip([&b"one"[..], b"", &large]) {
            assert_eq!((&input["size"], &input["sha256"]), (&json!(content.len()), &json!(sha256(content))));
            assert!(get(input["url"].as_str().unwrap()) == (200, content.to_vec()), "{input}");
        }
        let (kind, text) = asking.refused("input.grant", json!({"ttl_s": 700_000}));
        assert!(kind == "Invalid" && text.contains("'ttl_s' must be 1 to 604800"), "{text}");
        let address = granted[0]["url"].as_str().unwrap().to_owned();
        let forged = address.replace("input=1&", "input=3&").replace("X-Amz-Expires=604800", "X-Amz-Expires=604700");
        assert_eq!(get(&forged).0, 403, "{forged}");
        let short = asking.ok("input.grant", json!({"ttl_s": 1}))["inputs"][0]["url"].as_str().unwrap().to_owned();
        eventually("it expires", || get(&short).0 == 403);
        assert_eq!(asking.end(&server).status, Status::Completed, "{}", site.home.log());
        // The bucket does not know of jobs.
        assert!(!address.contains("/inputs/content?") || get(&address).0 == 410, "the job has ended");
    }
}

#[test]
fn a_job_without_files_has_no_addresses_of_any() {
    let site = Site::new(CONFIG);
    let server = site.home.serve();
    let asking = Asking::begin(&site, &server);
    assert_eq!(asking.ok("input.grant", json!({})), json!({"inputs": []}));
    asking.end(&server);
}
