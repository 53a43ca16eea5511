use super::*;

fn targets(hosts: &[&str], networks: &[&str]) -> Targets {
    let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    let config =
        config::Webhooks { allowed_hosts: owned(hosts), allowed_networks: owned(networks), ..Default::default() };
    Targets::new(&config)
}

#[test]
fn row_91_addresses_that_are_not_public_are_refused_however_they_are_written() {
    let none = targets(&[], &[]);
    for host in [
        "127.0.0.1",
        "127.1",
        "0x7f.1",
        "0177.0.0.1",
        "2130706433",
        "%31%32%37.0.0.1",
        "１２７.0.0.1",
        "127.0.0.1.",
        "0.0.0.0",
        "0",
        "10.0.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "100.100.100.200",
        "169.254.169.254",
        "0xA9FEA9FE",
        "168.63.129.16",
        "192.0.0.192",
        "192.0.2.1",
        "198.51.100.1",
        "203.0.113.1",
        "198.19.0.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "[::]",
        "[::1]",
        "[::ffff:10.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::169.254.169.254]",
        "[64:ff9b:1::1]",
        "[fe80::1]",
        "[fec0::1]",
        "[fd00:ec2::254]",
        "[fc00::1]",
        "[ff02::1]",
        "[100::1]",
        "[2001::1]",
        "[2001:db8::1]",
        "[2002:7f00:1::]",
        "[3fff::1]",
        "[5f00::1]",
        "localhost",
        "localhost.",
        "LOCALHOST",
        "a.localhost",
    ] {
        for url in [format!("http://{host}/"), format!("https://{host}:8443/x")] {
            let why = none.read(&url).expect_err(&url);
            assert!(why.contains("AllowedHosts"), "{url}: {why}");
        }
    }
    for host in ["8.8.8.8", "1.1.1.1", "100.128.0.1", "172.32.0.1", "[2606:4700::1111]", "[64:ff9b::808:808]"] {
        assert!(none.read(&format!("https://{host}/")).is_ok(), "{host}");
    }
    assert!(none.read("https://hooks.example.org/x?y=1").is_ok() && none.read("http://notlocalhost/").is_ok());
}

#[test]
fn what_is_no_address_for_messages() {
    let none = targets(&[], &[]);
    for text in ["", "x", "/hook", "ftp://8.8.8.8/", "file:///etc/passwd", "gopher://h/", "http://", "https:///"] {
        assert!(none.read(text).is_err_and(|why| why.contains("https://example.org/hook")), "{text}");
    }
    assert!(none.read(&format!("https://8.8.8.8/{}", "x".repeat(LONGEST))).is_err());
    for text in ["https://user@8.8.8.8/", "https://:pw@8.8.8.8/"] {
        assert!(none.read(text).is_err_and(|why| why.contains("password")), "{text}");
    }
}

#[test]
fn the_configuration_names_exceptions() {
    let some = targets(&["127.0.0.1", "Localhost.", "hooks.internal"], &["10.1.0.0/16", "fd00::/8"]);
    for host in ["127.0.0.1", "0x7f.1", "[::ffff:127.0.0.1]", "localhost", "10.1.2.3", "[fd00::1]"] {
        assert!(some.read(&format!("http://{host}/")).is_ok(), "{host}");
    }
    for host in ["127.0.0.2", "[::1]", "a.localhost", "10.2.0.1", "[fc00::1]"] {
        assert!(some.read(&format!("http://{host}/")).is_err(), "{host}");
    }
}

#[tokio::test]
async fn row_91_the_resolver_checks_what_a_name_resolves_to() {
    // Names of this machine without a look at how they are written.
    let name = "localhost";
    let by_name = targets(&[name], &[]);
    assert!(by_name.resolve(name).await.is_ok_and(|found| !found.is_empty()), "the name itself is allowed");
    assert!(matches!(targets(&[], &[]).resolve(name).await, Err(Unreachable::Refused(_))));
    // An IP address passes the resolver in the same way.
    for address in ["127.0.0.1", "169.254.169.254", "::1"] {
        let refused = targets(&[], &[]).resolve(address).await;
        assert!(matches!(refused, Err(Unreachable::Refused(ref why)) if why.contains(address)), "{refused:?}");
    }
    assert!(targets(&[], &["127.0.0.0/8"]).resolve("127.0.0.1").await.is_ok());
    assert!(matches!(by_name.resolve("a..b").await, Err(Unreachable::Unknown(..))));
}
