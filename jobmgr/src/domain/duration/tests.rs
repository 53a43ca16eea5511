//! Derived from the documentation of Go's `time` package: its grammar, its examples, and the edges of 64 bits.

use std::time::Duration;

use super::*;

const NS: i64 = 1;
const US: i64 = 1_000;
const MS: i64 = 1_000_000;
const S: i64 = 1_000_000_000;
const M: i64 = 60 * S;
const H: i64 = 60 * M;

#[test]
fn reads_what_go_reads() {
    let table: &[(&str, i64)] = &[
        ("0", 0),
        ("+0", 0),
        ("-0", 0),
        ("0s", 0),
        ("-0s", 0),
        ("00s", 0),
        ("0h0m0s", 0),
        ("0.s", 0),
        (".0s", 0),
        ("5s", 5 * S),
        ("+5s", 5 * S),
        ("-5s", -5 * S),
        ("1478s", 1478 * S),
        ("007s", 7 * S),
        // fractions
        ("5.0s", 5 * S),
        ("5.6s", 5 * S + 600 * MS),
        ("5.s", 5 * S),
        (".5s", 500 * MS),
        (".5m", 30 * S),
        ("-.5s", -500 * MS),
        ("+.5s", 500 * MS),
        ("1.004s", S + 4 * MS),
        ("1.0040s", S + 4 * MS),
        ("100.00100s", 100 * S + MS),
        ("0.1s", 100 * MS),
        ("0.000000001s", 1),
        ("0.0000000009s", 0),
        ("1.9999999999ns", 1),
        ("0.3333333333333333333h", 20 * M),
        ("0.100000000000000000000h", 6 * M),
        ("0.830103483285477580700h", 49 * M + 48 * S + 372_539_827),
        ("0.9223372036854775807s", 922_337_203),
        // units
        ("10ns", 10 * NS),
        ("11us", 11 * US),
        ("12\u{b5}s", 12 * US),
        ("12\u{3bc}s", 12 * US),
        ("13ms", 13 * MS),
        ("14s", 14 * S),
        ("15m", 15 * M),
        ("16h", 16 * H),
        ("1.5\u{b5}s", 1_500),
        // several numbers, in any order, also of one unit
        ("1m30s", 90 * S),
        ("1m.5s", M + 500 * MS),
        ("1h2m3.5s", H + 2 * M + 3 * S + 500 * MS),
        ("3h30m", 3 * H + 30 * M),
        ("10.5s4m", 4 * M + 10 * S + 500 * MS),
        ("-2m3.4s", -(2 * M + 3 * S + 400 * MS)),
        ("1h2m3s4ms5us6ns", H + 2 * M + 3 * S + 4 * MS + 5 * US + 6),
        ("39h9m14.425s", 39 * H + 9 * M + 14 * S + 425 * MS),
        ("1s1s", 2 * S),
        ("52763797000ns", 52_763_797_000),
        ("0h0m0.1s", 100 * MS),
        // the edges of 64 bits
        ("9007199254740993ns", (1 << 53) + 1),
        ("9223372036854775807ns", i64::MAX),
        ("9223372036854775.807us", i64::MAX),
        ("9223372036s854ms775us807ns", i64::MAX),
        ("2562047h47m16.854775807s", i64::MAX),
        ("-9223372036854775807ns", -i64::MAX),
        ("-9223372036854775808ns", i64::MIN),
        ("-9223372036854775.808us", i64::MIN),
        ("-9223372036s854ms775us808ns", i64::MIN),
        ("-2562047h47m16.854775808s", i64::MIN),
    ];
    for (text, nanos) in table {
        assert_eq!(text.parse(), Ok(GoDuration(*nanos)), "{text}");
    }
}

#[test]
fn refuses_what_go_refuses_in_its_words() {
    let invalid: &[&str] = &[
        "",
        "abc",
        "s",
        "+",
        "-",
        ".",
        "-.",
        ".s",
        "+.s",
        "..5s",
        "-+5s",
        "--5s",
        " 5s",
        "1s 2ms ",
        "\u{665}s",
        "1.2.3s",
        // more than 64 bits of nanoseconds hold
        "99999999h",
        "3000000h",
        "9223372036854775808ns",
        "9223372036854775.808us",
        "9223372036854ms775us808ns",
        "-9223372036854775809ns",
        "18446744073709551616ns",
        "99999999999999999999999s",
        "1e9h",
        "9223372036854775807h1ns",
    ];
    for text in invalid {
        let wrong = text.parse::<GoDuration>().unwrap_err();
        let expected = match *text {
            // These have a readable number in front, so that Go speaks of the unit.
            "1s 2ms " => r#"time: unknown unit "s " in duration "1s 2ms ""#.to_owned(),
            "1e9h" => r#"time: unknown unit "e" in duration "1e9h""#.to_owned(),
            "1.2.3s" => r#"time: missing unit in duration "1.2.3s""#.to_owned(),
            "\u{665}s" => r#"time: invalid duration "\xd9\xa5s""#.to_owned(),
            _ => format!("time: invalid duration \"{text}\""),
        };
        assert_eq!(wrong.to_string(), expected, "{text:?}");
    }
    let units: &[(&str, &str)] = &[
        ("10", r#"time: missing unit in duration "10""#),
        ("3000000", r#"time: missing unit in duration "3000000""#),
        ("1h1", r#"time: missing unit in duration "1h1""#),
        ("5.", r#"time: missing unit in duration "5.""#),
        ("+00", r#"time: missing unit in duration "+00""#),
        ("1d", r#"time: unknown unit "d" in duration "1d""#),
        ("1 s", r#"time: unknown unit " s" in duration "1 s""#),
        ("5sec", r#"time: unknown unit "sec" in duration "5sec""#),
        ("1S", r#"time: unknown unit "S" in duration "1S""#),
        ("5s ", r#"time: unknown unit "s " in duration "5s ""#),
        ("1m-5s", r#"time: unknown unit "m-" in duration "1m-5s""#),
        ("1,5s", r#"time: unknown unit "," in duration "1,5s""#),
        ("1\u{b5}", r#"time: unknown unit "\xc2\xb5" in duration "1\xc2\xb5""#),
        ("1\"\\\u{7f}\ns", "time: unknown unit \"\\\"\\\\\u{7f}\\x0as\" in duration \"1\\\"\\\\\u{7f}\\x0as\""),
    ];
    for (text, expected) in units {
        assert_eq!(text.parse::<GoDuration>().unwrap_err().to_string(), *expected, "{text:?}");
    }
}

#[test]
fn writes_what_go_writes() {
    let table: &[(i64, &str)] = &[
        (0, "0s"),
        (1, "1ns"),
        (999, "999ns"),
        (1_100, "1.1\u{b5}s"),
        (2_200_000, "2.2ms"),
        (200 * MS, "200ms"),
        (3_300_000_000, "3.3s"),
        (1_500 * MS, "1.5s"),
        (10 * S, "10s"),
        (M, "1m0s"),
        (90 * S, "1m30s"),
        (4 * M + 5 * S, "4m5s"),
        (4 * M + 5_001 * MS, "4m5.001s"),
        (H, "1h0m0s"),
        (5 * H + 6 * M + 7_001 * MS, "5h6m7.001s"),
        (8 * M + 1, "8m0.000000001s"),
        (24 * H, "24h0m0s"),
        (-S, "-1s"),
        (-1, "-1ns"),
        (i64::MAX, "2562047h47m16.854775807s"),
        (i64::MIN, "-2562047h47m16.854775808s"),
    ];
    for (nanos, text) in table {
        assert_eq!(GoDuration(*nanos).to_string(), *text);
        assert_eq!(text.parse(), Ok(GoDuration(*nanos)), "{text}");
    }
}

#[test]
fn turns_into_the_standard_librarys() {
    assert_eq!(GoDuration(1_500 * MS).to_std(), Some(Duration::from_millis(1_500)));
    assert_eq!(GoDuration(-1).to_std(), None);
    assert_eq!(GoDuration::from(Duration::MAX), GoDuration(i64::MAX));
}
