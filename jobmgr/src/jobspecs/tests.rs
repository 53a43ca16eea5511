use std::fs::FileTimes;

use super::*;

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, Jobspecs) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let jobspecs = Jobspecs::new(dir.path().to_owned());
    (dir, jobspecs)
}

fn command(jobspecs: &Jobspecs, name: &str) -> String {
    jobspecs.get(name).unwrap().command.clone()
}

#[test]
fn a_name_is_a_files_name_and_nothing_more() {
    let (_dir, jobspecs) = folder(&[("a.toml", "Command = 'x'"), ("a.b.toml", "Command = 'x'")]);
    let long = "x".repeat(256);
    let bad = ["", "a.b", "a/b", "a\\b", "a b", "../a", "./a", ".", "..", "/etc/passwd", " a", "a\0", "a\n", &long];
    for name in bad {
        assert_eq!(jobspecs.get(name).unwrap_err(), "invalid job name", "{name:?}");
    }
    let absent = ["b", "\u{202e}a", "a\u{301}", &long[..255], &long[..252]];
    for name in absent {
        assert_eq!(jobspecs.get(name).unwrap_err(), "job does not exist", "{name:?}");
    }
    assert!(jobspecs.get("a").is_ok());
}

#[cfg(windows)]
#[test]
fn a_name_is_no_device() {
    let (_dir, jobspecs) = folder(&[]);
    for name in ["con", "NUL", "aux", "com1", "LPT9", "com\u{b2}", "a:b", "a*", "a?", "conin$"] {
        assert_eq!(jobspecs.get(name).unwrap_err(), "invalid job name", "{name:?}");
    }
    assert_eq!(jobspecs.get("com10").unwrap_err(), "job does not exist");
}

#[test]
fn other_characters_are_fine_in_a_name() {
    for name in ["conf-name_x", "conf+x", "\u{e9}", "it's", "%20", "A"] {
        let (_dir, jobspecs) = folder(&[(&format!("{name}.toml"), "Command = 'x'")]);
        assert!(jobspecs.get(name).is_ok(), "{name}");
    }
}

#[test]
fn a_mistake_names_file_and_line() {
    let (dir, jobspecs) = folder(&[("x.toml", "Command = 'x'\nTimout = '1s'"), ("good.toml", "Command = 'x'")]);
    let file = dir.path().join("x.toml");
    let expected = format!("{}: line 2, column 1: unknown key 'Timout'; did you mean 'Timeout'?", file.display());
    assert_eq!(jobspecs.get("x").unwrap_err(), expected);
    assert!(jobspecs.get("good").is_ok());
    fs::write(&file, b"Command = 'x'\n# \xff").unwrap();
    let expected = format!("{}: line 2, column 3: the text is not UTF-8", file.display());
    assert_eq!(jobspecs.get("x").unwrap_err(), expected);
    fs::File::create(&file).unwrap().set_len(1 << 30).unwrap();
    assert!(jobspecs.get("x").unwrap_err().contains("is larger than 1048576 bytes"));
}

#[test]
fn an_executor_that_is_refused_is_a_mistake_of_the_file() {
    let (dir, _) = folder(&[("x.toml", "Command = 'x'\nExecutor = 'foo'")]);
    let jobspecs = Jobspecs::checked(
        dir.path().to_owned(),
        Arc::new(|name: &str, _: &serde_json::Value| match name {
            "foo" => Err(("Executor".to_owned(), "no".to_owned())),
            _ => Ok(()),
        }),
    );
    let expected = format!("{}: line 2, column 12: 'Executor': no", dir.path().join("x.toml").display());
    assert_eq!(jobspecs.get("x").unwrap_err(), expected);
    assert_eq!(jobspecs.list()[0].1.as_ref().unwrap_err(), &expected);
}

#[test]
fn files_are_read_anew_when_they_change() {
    let (dir, jobspecs) = folder(&[("x.toml", "Command = 'one'")]);
    let file = dir.path().join("x.toml");
    assert_eq!(command(&jobspecs, "x"), "one");
    // The same size, most likely within the same tick of the clock.
    fs::write(&file, "Command = 'two'").unwrap();
    assert_eq!(command(&jobspecs, "x"), "two");
    fs::remove_file(&file).unwrap();
    assert_eq!(jobspecs.get("x").unwrap_err(), "job does not exist");
    fs::write(&file, "Command = 'six'").unwrap();
    assert_eq!(command(&jobspecs, "x"), "six");
}

#[test]
fn an_answer_is_kept_only_when_the_next_change_will_show() {
    let now = SystemTime::now();
    let (dir, _) = folder(&[("x.toml", "")]);
    let file = fs::File::options().write(true).open(dir.path().join("x.toml")).unwrap();
    let settled = |modified: SystemTime, seconds_later: u64| {
        file.set_times(FileTimes::new().set_modified(modified)).unwrap();
        let looks = Looks::of(&file.metadata().unwrap());
        looks.settled(SystemTime::now() + Duration::from_secs(seconds_later))
    };
    assert!(!settled(now, 0));
    assert!(settled(now, 3));
    assert!(!settled(now + Duration::from_secs(3600), 3), "a time to come");
    // A time that was set back by hand proves nothing where the system knows better.
    assert_eq!(settled(now - Duration::from_secs(3600), 0), cfg!(windows));
}

#[test]
fn a_kept_answer_is_the_same_object_and_gives_way_to_another_file() {
    let (dir, jobspecs) = folder(&[("x.toml", "Command = 'one'")]);
    let file = dir.path().join("x.toml");
    let first = jobspecs.get("x").unwrap();
    let looks = Looks::of(&fs::metadata(&file).unwrap());
    let mut known = jobspecs.known.write().unwrap();
    known.insert("x".into(), Known { looks, answer: Ok(Arc::clone(&first)) });
    drop(known);
    assert!(Arc::ptr_eq(&jobspecs.get("x").unwrap(), &first));
    fs::write(dir.path().join("new"), "Command = 'two'").unwrap();
    if cfg!(unix) {
        // Even where it looks as old as the first.
        let times = FileTimes::new().set_modified(fs::metadata(&file).unwrap().modified().unwrap());
        fs::File::options().write(true).open(dir.path().join("new")).unwrap().set_times(times).unwrap();
    }
    fs::rename(dir.path().join("new"), &file).unwrap();
    assert_eq!(command(&jobspecs, "x"), "two");
    assert!(jobspecs.known.read().unwrap().is_empty());
}

#[test]
fn the_list_is_sorted_and_has_the_mistakes() {
    let files = [
        ("b.toml", "Command = 'b'"),
        ("a.toml", "Comand = 'a'"),
        ("x.y.toml", "Command = 'x'"),
        (".hidden.toml", "Command = 'x'"),
        ("c.toml.tmp~", "Command = 'x'"),
        ("c.toml~", "Command = 'x'"),
        ("README.md", "Command = 'x'"),
    ];
    let (dir, jobspecs) = folder(&files);
    fs::create_dir(dir.path().join("d.toml")).unwrap();
    let list = jobspecs.list();
    let names: Vec<_> = list.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a", "b", "d", "x.y"]);
    assert!(list[0].1.as_ref().unwrap_err().contains("a.toml: line 1, column 1: unknown key 'Comand'"));
    assert_eq!(list[1].1.as_ref().unwrap().command, "b");
    assert!(list[2].1.is_err());
    assert_eq!(list[3].1.as_ref().unwrap_err(), "invalid job name");
    assert_eq!(jobspecs.folder(), dir.path());
}

#[test]
fn a_list_has_an_end() {
    let files: Vec<_> = (0..5).map(|index| (format!("{index}.toml"), "Command = 'x'")).collect();
    let (_dir, jobspecs) = folder(&files.iter().map(|(name, text)| (name.as_str(), *text)).collect::<Vec<_>>());
    assert_eq!(jobspecs.list_at_most(5).len(), 5);
    let list = jobspecs.list_at_most(3);
    assert_eq!(list.len(), 4);
    assert!(list[3].1.as_ref().unwrap_err().starts_with("the folder has more than 3 entries"));
}

#[test]
fn a_folder_that_is_not_there() {
    let jobspecs = Jobspecs::new("no/such/folder".into());
    assert!(jobspecs.list().is_empty());
    assert!(jobspecs.check().unwrap_err().contains("folder: "));
    assert_eq!(jobspecs.get("x").unwrap_err(), "job does not exist");
}

#[cfg(unix)]
#[test]
fn strange_files_are_told_and_nobody_waits_for_them() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    let (dir, jobspecs) = folder(&[("good.toml", "Command = 'x'")]);
    let at = |name: &str| dir.path().join(name);
    rustix::fs::mknodat(rustix::fs::CWD, at("fifo.toml"), rustix::fs::FileType::Fifo, 0o644.into(), 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket.toml")).unwrap();
    symlink("loop.toml", at("loop.toml")).unwrap();
    symlink("good.toml", at("link.toml")).unwrap();
    fs::write(dir.path().join(OsStr::from_bytes(b"n\xff.toml")), "Command = 'x'").unwrap();
    let problem = |name: &str| jobspecs.get(name).unwrap_err();
    assert!(problem("fifo").ends_with("fifo.toml: is not a regular file"));
    assert!(problem("socket").contains("socket.toml: "));
    assert!(problem("loop").contains("loop.toml: "), "{}", problem("loop"));
    assert_eq!(command(&jobspecs, "link"), "x");
    let list = jobspecs.list();
    let bad: Vec<_> = list.iter().filter(|(_, answer)| answer.is_err()).map(|(name, _)| name.as_str()).collect();
    assert_eq!(bad, ["fifo", "loop", "n\u{fffd}", "socket"]);
}

#[test]
fn the_samples_are_right() {
    let samples = Jobspecs::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../jobspecs"));
    let list = samples.list();
    let names: Vec<_> = list.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["countdown", "hello", "image-generator", "sysinfo", "word-count"]);
    for (name, jobspec) in list {
        assert!(jobspec.unwrap_or_else(|error| panic!("{error}")).description.is_some(), "{name}");
    }
}
