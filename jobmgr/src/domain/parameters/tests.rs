use super::*;

fn spec(parameters: &[&str]) -> Jobspec {
    let tables = parameters.iter().map(|keys| format!("[[Parameter]]\n{keys}\n"));
    Jobspec::parse(&format!("Command = 'x'\n{}", tables.collect::<String>())).unwrap()
}

fn given(values: &[(&str, &str)]) -> Parameters {
    values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The environment of one parameter `n` with these keys, to which `value` is given.
fn one(keys: &str, value: &str) -> Result<String, String> {
    let environment = environment(&spec(&[&format!("Name = 'n'\n{keys}")]), &given(&[("n", value)]))?;
    Ok(environment["JOBMGR_PARAMETER_N"].clone())
}

#[test]
fn only_declared_parameters_become_variables() {
    let spec = spec(&["Name = 'other-option'\nType = 'string'"]);
    let environment = environment(&spec, &given(&[("other-option", "v"), ("PATH", "/evil"), ("x", "y")])).unwrap();
    let expected = given(&[("JOBMGR_PARAMETER_OTHER-OPTION", "v"), ("JOBMGR_PARAMETER_OTHER_OPTION", "v")]);
    assert_eq!(environment, expected);
}

#[test]
fn ints_are_gos() {
    let accepted = [
        ("7", "7"),
        ("07", "7"),
        ("+5", "5"),
        ("-3", "-3"),
        ("-0", "0"),
        ("0", "0"),
        ("000", "0"),
        ("9223372036854775807", "9223372036854775807"),
        ("-9223372036854775808", "-9223372036854775808"),
    ];
    for (value, expected) in accepted {
        assert_eq!(one("Type = 'int'", value).as_deref(), Ok(expected), "{value}");
    }
    let refused = [
        "abc",
        "",
        " 5",
        "5 ",
        "5.0",
        "0x10",
        "1_000",
        "1e3",
        "9223372036854775808",
        "--5",
        "+",
        "-",
        "\u{665}",
        "5\n",
    ];
    for value in refused {
        let text = one("Type = 'int'", value).unwrap_err();
        let expected = format!(
            "parameter 'n' has invalid value '{}': it must be a whole number from -9223372036854775808 to \
             9223372036854775807",
            value.escape_debug()
        );
        assert_eq!(text, expected);
    }
}

#[test]
fn floats_stay_as_they_are() {
    for value in ["1", "-1.5", "+0.25", "1e3", "2E-3", ".5", "5.", "007.10", "1e-400", "0.1000"] {
        assert_eq!(one("Type = 'float'", value).as_deref(), Ok(value));
    }
    for value in ["", "nan", "NaN", "inf", "-Infinity", "0x1p-2", "1_0", "1,5", " 1", "1e", ".", "1e400", "\u{665}"] {
        let text = one("Type = 'float'", value).unwrap_err();
        assert!(text.starts_with("parameter 'n' has invalid value") && text.contains("must be a number"), "{text}");
    }
}

#[test]
fn bools_are_true_or_false() {
    for (value, expected) in [("true", "true"), ("1", "true"), ("false", "false"), ("0", "false")] {
        assert_eq!(one("Type = 'bool'", value).as_deref(), Ok(expected));
    }
    for value in ["True", "yes", "", "2", "on"] {
        assert!(one("Type = 'bool'", value).unwrap_err().contains("it must be true or false"), "{value}");
    }
}

#[test]
fn enums_are_one_of_their_values() {
    let keys = "Type = 'enum'\nValues = ['plain', 'loud']";
    assert_eq!(one(keys, "loud").as_deref(), Ok("loud"));
    let text = one(keys, "Loud").unwrap_err();
    assert_eq!(text, "parameter 'n' has invalid value 'Loud': it must be one of plain, loud");
}

#[test]
fn missing_parameters() {
    let without = |keys: &str| environment(&spec(&[&format!("Name = 'n'\n{keys}")]), &given(&[("N", "1")]));
    assert_eq!(without("Type = 'string'").unwrap_err(), "parameter 'n' is required but not set");
    assert_eq!(without("Type = 'int'\nOptional = true").unwrap(), given(&[]));
    assert_eq!(without("Type = 'int'\nDefault = 5").unwrap(), given(&[("JOBMGR_PARAMETER_N", "5")]));
    let both = "Type = 'int'\nDefault = 5\nOptional = true";
    assert_eq!(without(both).unwrap(), given(&[("JOBMGR_PARAMETER_N", "5")]));
    assert_eq!(one("Type = 'string'\nDefault = 'x'", "").as_deref(), Ok(""));
}

#[test]
fn files_are_ids() {
    for (value, expected) in [("1", "1"), ("007", "7"), ("9223372036854775807", "9223372036854775807")] {
        assert_eq!(one("Type = 'file'", value).as_deref(), Ok(expected));
    }
    for value in ["", "0", "-1", "+1", "1.0", "a", " 1", "9223372036854775808", "\u{661}"] {
        let text = one("Type = 'file'", value).unwrap_err();
        assert!(text.ends_with("it must be the id of an uploaded file"), "{text}");
    }
}

#[test]
fn a_secret_is_in_no_error() {
    for keys in ["Type = 'int'", "Type = 'enum'\nValues = ['a']", "Type = 'bool'", "Type = 'float'"] {
        let text = one(&format!("{keys}\nSecret = true"), "hunter2").unwrap_err();
        assert!(text.starts_with("parameter 'n' has invalid value '***': it must be "), "{text}");
        let about = crate::domain::jobspec::About::of(&spec(&[&format!("Name = 'n'\n{keys}\nSecret = true")]));
        for value in [serde_json::json!("hunter2"), serde_json::json!(["hunter2"])] {
            let given = [("n".to_owned(), value)].into_iter().collect();
            let wrong = check(&about, &given, Texts::Serve).unwrap_err();
            assert!(!format!("{wrong:?}").contains("hunter2"), "{wrong:?}");
        }
    }
}

#[test]
fn what_is_sealed_is_shown_as_a_mask() {
    let stored = given(&[("a", &seal("1.ab.cd")), ("b", "***"), ("c", "")]);
    assert!(any_sealed(&stored) && !any_sealed(&given(&[("a", "1.ab.cd")])));
    assert_eq!(sealed(&stored["a"]), Some("1.ab.cd"));
    assert_eq!(masked(stored), given(&[("a", "***"), ("b", "***"), ("c", "")]));
}

#[test]
fn texts_are_byte_exact_but_for_nul() {
    for value in ["", "a\nb", "e\u{301}", "\u{e9}", "\u{202e}x", "\u{feff}", "$(id)", "a=b"] {
        assert_eq!(one("Type = 'string'", value).as_deref(), Ok(value));
    }
    let text = one("Type = 'string'", "a\0b").unwrap_err();
    assert_eq!(text, "parameter 'n' has invalid value 'a\\0b': it must not have a NUL byte");
}

#[test]
fn a_variable_is_at_most_what_execve_takes() {
    let longest = MAX_VARIABLE - "JOBMGR_PARAMETER_N=".len() - 1;
    assert!(one("Type = 'string'", &"x".repeat(longest)).is_ok());
    let text = one("Type = 'string'", &"x".repeat(longest + 1)).unwrap_err();
    assert_eq!(text, format!("parameter 'n' is too long: {} bytes, at most {longest} are possible", longest + 1));
}

#[test]
fn all_variables_are_at_most_a_mebibyte() {
    let names: Vec<String> = (0..30).map(|index| format!("p{index}")).collect();
    let tables: Vec<String> = names.iter().map(|name| format!("Name = '{name}'\nType = 'string'")).collect();
    let spec = spec(&tables.iter().map(String::as_str).collect::<Vec<_>>());
    let values = |size: usize| names.iter().map(|name| (name.clone(), "x".repeat(size))).collect::<Parameters>();
    assert!(environment(&spec, &values(34_000)).is_ok());
    let text = environment(&spec, &values(100_000)).unwrap_err();
    assert!(text.starts_with("the parameters are too long together: with 'p10' they need "), "{text}");
    // No more than the value that is too long by itself is copied into an error.
    let text = one("Type = 'int'", &"7".repeat(1 << 20)).unwrap_err();
    assert!(text.len() < 300, "{}", text.len());
}
