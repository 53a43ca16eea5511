//! The samples, exactly as they lie in `jobspecs/`, through the server and through `jobmgr run`.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::support::server::{Home, eventually};

const NAMES: [&str; 5] = ["countdown", "hello", "image-generator", "sysinfo", "word-count"];

/// A home with every sample.
fn home() -> Home {
    let home = Home::with_samples("");
    let files = std::fs::read_dir(home.path("jobspecs")).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<String> = files.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    names.sort();
    assert_eq!(names, NAMES, "a test for each sample");
    home
}

/// What `jobmgr run` prints; it has to succeed.
fn run(home: &Home, arguments: &[&str]) -> String {
    let output = home.jobmgr(&["run"]).args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn all_of_them_load() {
    let home = home();
    let server = home.serve();
    assert!(server.greeting.iter().any(|line| line.contains("listens on")));
    let output = home.jobmgr(&["check"]).output().unwrap();
    let report = String::from_utf8(output.stdout).unwrap();
    for name in NAMES {
        assert!(report.contains(&format!("ok     jobspec {name}: ")), "{report}");
    }
}

#[test]
fn hello() {
    let home = home();
    let server = home.serve();
    for (parameters, result) in [
        (json!({}), "hello\n"),
        (json!({ "message": "good morning", "style": "loud" }), "GOOD MORNING!!!\n"),
        (json!({ "message": "$(id) \"x\" 'y' \\n", "style": "starred" }), "*** $(id) \"x\" 'y' \\n ***\n"),
    ] {
        let ended = server.run("hello", parameters);
        assert_eq!((ended.status.as_str(), ended.result.as_str()), ("completed", result));
    }
    let ended = server.run("hello", json!({ "style": "odd" }));
    assert_eq!(ended.status, "failed");
    assert!(ended.result.contains("plain, loud, starred"), "{}", ended.result);
    assert_eq!(run(&home, &["hello", "-p", "message=good morning", "-p", "style=loud"]), "GOOD MORNING!!!\n");
}

#[test]
fn image_generator() {
    let home = home();
    let server = home.serve();
    let ended = server.run("image-generator", json!({ "message": "Hello, world! Does this wrap? é" }));
    assert_eq!(ended.status, "completed", "{ended:?}");
    let [artifact] = &ended.artifacts[..] else { panic!("{ended:?}") };
    assert_eq!((&artifact["name"], &artifact["mime"]), (&json!("result.png"), &json!("image/png")));
    let png = server.download(artifact);
    assert_eq!(artifact["size"], png.len());
    std::fs::write(home.path("served.png"), png).unwrap();
    run(&home, &["image-generator", "-p", "message=hi", "--artifacts", "out"]);
    for file in ["served.png", "out/result.png"] {
        assert_picture(&home.path(file));
    }
}

/// A PNG whose parts are whole and whose pixels are as many as its header says.
fn assert_picture(path: &Path) {
    let reader = "import struct,sys,zlib\n\
        data=open(sys.argv[1],'rb').read()\n\
        assert data[:8]==b'\\x89PNG\\r\\n\\x1a\\n'\n\
        at,parts=8,[]\n\
        while at<len(data):\n\
        \x20 size,=struct.unpack('>I',data[at:at+4]); body=data[at+4:at+8+size]\n\
        \x20 assert struct.unpack('>I',data[at+8+size:at+12+size])[0]==zlib.crc32(body)\n\
        \x20 parts.append((body[:4],body[4:])); at+=12+size\n\
        assert [kind for kind,_ in parts]==[b'IHDR',b'IDAT',b'IEND']\n\
        width,height,depth,color=struct.unpack('>IIBB',parts[0][1][:10])\n\
        assert (depth,color)==(8,2) and width>=128 and height>=64\n\
        pixels=zlib.decompress(parts[1][1])\n\
        assert len(pixels)==height*(1+3*width)\n\
        assert b'\\xff\\xf4\\xe0' in pixels, 'no letter is lit'";
    let checked = Command::new("python3").args(["-c", reader]).arg(path).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn sysinfo() {
    let home = home();
    let server = home.serve();
    let id = server.start("sysinfo", json!({}));
    let ended = server.wait(id);
    assert_eq!(ended.status, "completed", "{ended:?}");
    let output = home.stored(id).ended.unwrap().output.unwrap();
    assert!(output["cpus"].as_u64().is_some_and(|cpus| cpus > 0), "{output}");
    assert!(output["memory_mib"].as_u64().is_some_and(|memory| memory > 0), "{output}");
    assert!(output["gpus"].is_array() && output["host"].is_string(), "{output}");
    for text in [ended.result, run(&home, &["sysinfo"])] {
        assert!(text.contains(&format!("cpus: {}\n", output["cpus"])) && text.contains("\ngpu"), "{text}");
    }
}

#[test]
fn countdown() {
    let home = home();
    let server = home.serve();
    let id = server.start("countdown", json!({ "seconds": "3" }));
    let mut seen = Vec::new();
    eventually("the job ends", || {
        if let Some(progress) = home.stored(id).progress {
            seen.push(format!("{} {}", progress.percent, progress.message));
            seen.dedup();
        }
        server.job(id)["result"].is_string()
    });
    assert_eq!(server.wait(id).result, "3\n2\n1\nliftoff\n");
    assert!(seen.contains(&"33 2 seconds to go".to_owned()), "{seen:?}");
    assert_eq!(home.stored(id).progress.unwrap().percent, 100.0);
    assert_eq!(run(&home, &["countdown", "-p", "seconds=1"]), "1\nliftoff\n");
}

#[test]
fn word_count() {
    let home = home();
    let server = home.serve();
    let (notes, counted) = (b"one two\nthree\n", "notes.txt: 2 lines, 3 words\n");
    let mut client = server.client();
    let mut post = |path: &str, kind: &str, body: &[u8]| {
        let answer = client.try_send("POST", path, &format!("Content-Type: application/{kind}\r\n"), body).unwrap();
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()
    };
    let file = post("/v1/inputs?name=notes.txt", "octet-stream", notes)["id"].as_i64().unwrap();
    let parameters = json!({ "file": file }).to_string();
    assert_eq!(post("/v1/run/word-count?wait=30s", "json", parameters.as_bytes())["result"], counted);
    std::fs::write(home.path("notes.txt"), notes).unwrap();
    assert_eq!(run(&home, &["word-count", "-p", "file=@notes.txt"]), counted);
}
