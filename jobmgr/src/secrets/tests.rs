use super::*;

fn key(byte: u8) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode([byte; 32])
}

fn given(byte: u8, installation: &str) -> Secrets {
    let config = config::Secrets { key: Some(key(byte)), ..Default::default() };
    Secrets::new(&config, &config::Database::default(), installation).unwrap()
}

fn in_folder(folder: &std::path::Path) -> Result<Secrets, SecretsError> {
    let url = Some(format!("sqlite:{}", folder.join("queue.db").display()));
    Secrets::new(&config::Secrets::default(), &config::Database { url, ..Default::default() }, "i")
}

#[test]
fn what_is_sealed_is_opened_by_the_same_key_for_the_same() {
    let secrets = given(1, "i");
    for value in [b"".as_slice(), b"a", "pass wörd\0\n".as_bytes(), &[7; 100_000]] {
        let sealed = secrets.seal("parameter:a", value).unwrap();
        assert!(sealed.bytes().all(|byte| byte.is_ascii_graphic()), "{sealed}");
        assert_eq!(secrets.open("parameter:a", &sealed).as_deref(), Ok(value));
        assert_eq!(secrets.open("parameter:b", &sealed), Err(SecretsError::Damaged));
        assert_eq!(given(1, "j").open("parameter:a", &sealed), Err(SecretsError::Damaged), "another installation");
        assert!(matches!(given(2, "i").open("parameter:a", &sealed), Err(SecretsError::OtherKey(_))));
        assert_ne!(secrets.seal("parameter:a", value).unwrap(), sealed, "never twice the same");
    }
}

#[test]
fn what_is_damaged_is_not_opened() {
    let secrets = given(1, "i");
    let sealed = secrets.seal("a", b"value").unwrap();
    for at in 0..sealed.len() {
        let mut other = sealed.clone().into_bytes();
        other[at] = if other[at] == b'A' { b'B' } else { b'A' };
        let other = String::from_utf8(other).unwrap();
        assert!(secrets.open("a", &other).is_err(), "{other}");
    }
    for other in ["", "1", "1.", "1..", "value", &sealed[..sealed.len() - 1], &sealed[..20]] {
        assert!(secrets.open("a", other).is_err(), "{other}");
    }
}

#[test]
fn digests_are_those_of_the_key() {
    let of = |secrets: &Secrets, context: &str, value: &[u8]| secrets.digests(context, value).unwrap().remove(0);
    let (one, other) = (given(1, "i"), given(2, "i"));
    assert_eq!(of(&one, "a", b"x"), of(&one, "a", b"x"));
    assert_eq!(of(&one, "a", b"x").len(), 64);
    assert_ne!(of(&one, "a", b"x"), of(&one, "a", b"y"));
    assert_ne!(of(&one, "a", b"x"), of(&one, "b", b"x"));
    assert_ne!(of(&one, "a", b"x"), of(&other, "a", b"x"));
    assert_ne!(of(&one, "a", b"x"), of(&given(1, "j"), "a", b"x"));
}

#[test]
fn a_key_file_is_made_when_it_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(DEFAULT_FILE);
    let (first, second) = (in_folder(folder.path()).unwrap(), in_folder(folder.path()).unwrap());
    assert!(!file.exists());
    let sealed = first.seal("a", b"value").unwrap();
    // Whoever began before has it too.
    assert_eq!(second.open("a", &sealed).as_deref(), Ok(b"value".as_slice()));
    assert_eq!(first.open("a", &second.seal("a", b"other").unwrap()).as_deref(), Ok(b"other".as_slice()));
    assert_eq!(in_folder(folder.path()).unwrap().open("a", &sealed).as_deref(), Ok(b"value".as_slice()));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn many_make_one_key() {
    let folder = tempfile::tempdir().unwrap();
    let sealed: Vec<String> = std::thread::scope(|scope| {
        let each = || in_folder(folder.path()).unwrap().seal("a", b"x").unwrap();
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(each)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let secrets = in_folder(folder.path()).unwrap();
    assert!(sealed.iter().all(|sealed| secrets.open("a", sealed).is_ok()));
}

#[test]
fn the_first_key_seals_and_all_open() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    let write = |text: String| std::fs::write(&file, text).unwrap();
    let open = || {
        let config = config::Secrets { key_file: Some(file.clone()), ..Default::default() };
        Secrets::new(&config, &config::Database::default(), "i")
    };
    write(format!("# old\n{}\n", key(1)));
    let running = open().unwrap();
    let (old, digest) = (running.seal("a", b"old").unwrap(), running.digests("a", b"x").unwrap());
    write(format!("{}\n\n{}\n", key(2), key(1)));
    let both = open().unwrap();
    let new = both.seal("a", b"new").unwrap();
    assert_eq!(both.open("a", &old).as_deref(), Ok(b"old".as_slice()));
    assert_eq!(both.digests("a", b"x").unwrap()[1..], digest);
    assert_eq!(running.open("a", &new).as_deref(), Ok(b"new".as_slice()), "the file is read again");
    write(key(2));
    assert!(matches!(open().unwrap().open("a", &old), Err(SecretsError::OtherKey(_))));
}

#[test]
fn keys_that_cannot_serve_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(DEFAULT_FILE);
    for (text, expected) in
        [("", "there is no key in it"), ("# x\nabc", "line 2: this is no base64"), ("aGk=", "line 1: this has 2 bytes")]
    {
        std::fs::write(&file, text).unwrap();
        let why = in_folder(folder.path()).err().unwrap().to_string();
        assert!(why.starts_with("[Secrets] ") && why.contains(expected), "{why}");
    }
    let config = config::Secrets { key_file: Some(folder.path().join("none")), ..Default::default() };
    let why = Secrets::new(&config, &config::Database::default(), "i").err().unwrap().to_string();
    assert!(why.contains("the keys can't be read"), "{why}");
}
