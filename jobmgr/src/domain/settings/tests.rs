use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::*;

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct House {
    #[serde(default)]
    name: String,
    #[serde(default)]
    owners: Vec<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default, rename = "Room")]
    rooms: Vec<Room>,
    #[serde(default)]
    garden: Option<Garden>,
}

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Room {
    floor: i64,
    #[serde(default)]
    heated: bool,
}

#[derive(Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Garden {
    trees: u32,
    #[serde(default)]
    #[schemars(extend("writeOnly" = true))]
    treasure: String,
}

fn mistake(text: &str) -> String {
    parse::<House>(text).unwrap_err().to_string()
}

#[test]
fn keys_match_without_regard_to_case() {
    let text = "name = 'a'\nOWNERS = ['x']\n[LABELS]\nFree = '1'\nfree = '2'\n[[room]]\nfloor = 1\nHeated = true\n[gARDEN]\ntrees = 3";
    let house: House = parse(text).unwrap();
    assert_eq!(house.name, "a");
    assert_eq!(house.owners, ["x"]);
    assert_eq!(house.labels, BTreeMap::from([("Free".into(), "1".into()), ("free".into(), "2".into())]));
    assert_eq!(house.rooms, [Room { floor: 1, heated: true }]);
    assert_eq!(house.garden.unwrap().trees, 3);
}

#[test]
fn unknown_keys_are_refused_with_place_and_remedy() {
    let table = [
        ("Name = 'x'\nOwnres = []", "line 2, column 1: unknown key 'Ownres'; did you mean 'Owners'?"),
        ("nmae = 'x'", "line 1, column 1: unknown key 'nmae'; did you mean 'Name'?"),
        ("[[Room]]\nFloor = 1\n  hetaed = 1", "line 3, column 3: unknown key 'hetaed'; did you mean 'Heated'?"),
        (
            "Room = [{ Floor = 1, Window = 1 }]",
            "line 1, column 22: unknown key 'Window'; the keys here are Floor, Heated",
        ),
        ("[Gardne]\nTrees = 1", "line 1, column 2: unknown key 'Gardne'; did you mean 'Garden'?"),
        ("Garden.Trese = 1", "line 1, column 8: unknown key 'Trese'; did you mean 'Trees'?"),
        ("\u{e9}\u{e9} = 1", "line 1, column 1: "),
        ("'\u{e9}\u{e9}' = 1", "line 1, column 1: unknown key '\u{e9}\u{e9}'; the keys here are"),
        // the first mistake in the text, not in the alphabet
        ("Zzz = 1\nAaa = 1", "line 1, column 1: unknown key 'Zzz'"),
        // a key in the wrong table
        ("Trees = 1", "line 1, column 1: unknown key 'Trees'; it belongs below a line [Garden]"),
        ("[[Room]]\nFloor = 1\nName = 'x'", "line 3, column 1: unknown key 'Name' in a table; 'Name' must stand above"),
    ];
    for (text, expected) in table {
        assert!(mistake(text).starts_with(expected), "{text}: {}", mistake(text));
    }
}

#[test]
fn keys_that_differ_only_in_case_are_refused() {
    assert_eq!(
        mistake("Name = 'a'\nname = 'b'"),
        "line 2, column 1: 'name' is set a second time (case makes no difference); remove one of them"
    );
    assert!(
        mistake("[Garden]\nTrees = 1\n[garden]\nTrees = 2").starts_with("line 3, column 2: 'garden' is set a second")
    );
    assert!(mistake("Name = 'a'\nName = 'b'").starts_with("line 2, column 1: duplicate key"));
}

#[test]
fn values_of_the_wrong_type_are_told_with_their_key() {
    let table = [
        ("Name = 5", "line 1, column 8: 'Name': invalid type: integer `5`, expected a string"),
        ("Owners = ['a',\n  5]", "line 2, column 3: 'Owners': invalid type: integer `5`, expected a string"),
        ("Owners = 'a'", "line 1, column 10: 'Owners' must be an array; found: string"),
        ("[Labels]\nx = true", "line 2, column 5: 'x': invalid type: boolean `true`, expected a string"),
        ("[[Room]]\nFloor = '1'", "line 2, column 9: 'Floor': invalid type: string \"1\", expected a whole number"),
        ("\n[[Room]]\nHeated = true", "line 2, column 1: 'Room': key 'Floor' is missing"),
        ("[Room]\nFloor = 1", "line 1, column 1: 'Room' must be an array; an array of tables has two brackets"),
        ("Garden = 5", "line 1, column 10: 'Garden' must be a table; found: integer"),
        (
            "[Garden]\nTrees = -1",
            "line 2, column 9: 'Trees': invalid value: integer `-1`, expected a whole number, 0 or more",
        ),
        (
            "[[Room]]\nFloor = 1\nHeated = 1",
            "line 3, column 10: 'Heated': invalid type: integer `1`, expected true or false",
        ),
    ];
    for (text, expected) in table {
        assert!(mistake(text).starts_with(expected), "{text}: {}", mistake(text));
    }
}

#[test]
fn secrets_are_not_shown() {
    assert!(!mistake("[Garden]\nTrees = 1\nTreasure = 12345").contains("12345"));
}

#[test]
fn broken_syntax_is_told_in_one_line() {
    for text in ["Name = ", "Name = \n", "Name", "= 1", "Name = 'a", "Name = \"\\q\"", "[Room", "Name = 1 2", "\u{0}"] {
        let mistake = mistake(text);
        assert!(mistake.starts_with("line 1, column ") && !mistake.contains('\n'), "{text:?}: {mistake}");
    }
    assert!(mistake("Name = 'a'\n\n  [[\n").starts_with("line 3, column "));
}

#[test]
fn hostile_texts_are_refused_and_not_fatal() {
    let deep = format!("Labels = {}1", "[".repeat(100_000));
    assert!(mistake(&deep).contains("line 1, column "));
    let dotted = format!("Labels{} = 1", ".a".repeat(100_000));
    assert!(mistake(&dotted).contains("line 1, column "));
    let tables = format!("[Labels{}]", ".a".repeat(100_000));
    assert!(mistake(&tables).contains("line 1, column "));
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_fine() {
    let house: House = parse("\u{feff}Name = 'a'\r\nOwners = ['b']\r\n").unwrap();
    assert_eq!((house.name.as_str(), house.owners.len()), ("a", 1));
    assert!(mistake("\u{feff}Name = 'a'\r\nOwnres = ['b']\r\n").starts_with("line 2, column 1: "));
}

#[test]
fn values_from_outside_go_over_the_text() {
    let mut document = Document::read::<House>("Name = 'a'\n[Labels]\nx = '1'").unwrap();
    let mut set = |path: &[&str], value: &'static str| {
        let (path, kind) = document.resolve(path).map_err(Mistake::whole)?;
        document.set(&path, kind, value, &format!("${}", path.join("_")))
    };
    set(&["NAME"], "7").unwrap();
    set(&["owners"], "a, b").unwrap();
    set(&["LABELS", "X"], "2").unwrap();
    set(&["garden", "trees"], "4").unwrap();
    assert_eq!(set(&["NMAE"], "").unwrap_err().to_string(), "unknown key 'NMAE'; did you mean 'Name'?");
    assert_eq!(set(&["name", "x"], "").unwrap_err().to_string(), "unknown key 'x'; 'Name' is a value, not a section");
    assert_eq!(set(&["Garden"], "x").unwrap_err().to_string(), "$Garden: is a section; name one of its keys");
    assert_eq!(set(&["Name"], "x").unwrap_err().to_string(), "$Name: $Name sets the same; unset one of them");
    let house: House = document.value().unwrap();
    assert_eq!((house.name.as_str(), house.labels["x"].as_str()), ("7", "2"));
    assert_eq!(house.owners, ["a", "b"]);
    assert_eq!(house.garden.unwrap().trees, 4);
    assert_eq!(document.mistake("Name", "no").to_string(), "$Name: no");
    assert_eq!(document.mistake("Labels.y", "no").to_string(), "line 2, column 1: no");
    assert_eq!(document.mistake("Other", "no").to_string(), "no");
}

#[test]
fn wrong_values_from_outside_are_told_with_their_origin() {
    let set = |path: &[&str], value: &'static str| {
        let mut document = Document::read::<House>("Name = 'a'").unwrap();
        let (path, kind) = document.resolve(path).unwrap();
        document.set(&path, kind, value, "VARIABLE")?;
        document.value::<House>()
    };
    let text = |path: &[&str], value| set(path, value).unwrap_err().to_string();
    assert_eq!(text(&["Garden", "Trees"], "x"), "VARIABLE: 'x' is not a whole number");
    assert_eq!(text(&["Garden", "Trees"], ""), "VARIABLE: is empty; give it a value, or unset it");
    assert!(text(&["Garden", "Trees"], "-1").starts_with("VARIABLE: 'Trees': invalid value: integer `-1`"));
    assert_eq!(text(&["Garden", "Treasure"], "x"), "VARIABLE: 'Garden': key 'Trees' is missing");
}
