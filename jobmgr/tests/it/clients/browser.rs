//! The documentation in a real browser: its forms submit jobs.

use std::path::PathBuf;

use super::chromium::Chromium;
use super::{CONFIG, GUARDED, address, token_of};
use crate::support::server::{Home, eventually};

/// Where pictures of the page are put: where `JOBMGR_PICTURES` says, or with all else that the test leaves.
fn picture(home: &Home, name: &str) -> PathBuf {
    std::env::var_os("JOBMGR_PICTURES").map_or_else(|| home.path(name), |folder| PathBuf::from(folder).join(name))
}

/// The browser's complaint about what a page may not do, or about what it did not find.
fn assert_content(browser: &Chromium) {
    let complaints = browser.complaints();
    assert!(complaints.is_empty(), "{complaints:?}");
}

#[test]
fn row_102_the_page_has_this_servers_document_whatever_the_address_says_and_its_form_runs_a_job() {
    let Some(browser) = Chromium::start() else { return };
    let home = Home::with_samples(CONFIG);
    let server = home.serve();
    let evil = "https://evil.example/openapi.json";
    browser.open(&format!("{}/docs?url={evil}&configUrl={evil}", address(&server)));
    let operation = "#operations-Jobs-run_hello";
    let within = |what: &str| format!("{operation} {what}");
    browser.click(&within(".opblock-summary-control"));
    browser.click(&within(".try-out__btn"));
    browser.fill(&within("tr[data-param-name=wait] input"), "10s");
    browser.fill(&within("textarea.body-param__text"), r#"{"message": "said in a browser", "style": "loud"}"#);
    browser.click(&within(".execute"));
    let answer = within(".live-responses-table");
    eventually("the page shows the answer", || browser.text(&answer).contains("completed"));
    let text = browser.text(&answer);
    assert!(text.contains("201") && text.contains("SAID IN A BROWSER!!!"), "{text}");
    browser.picture(operation, &picture(&home, "hello.png"));
    assert_content(&browser);
    // The page knows the document: it asks for none.
    let asked = "return performance.getEntriesByType('resource').map(entry => entry.name)";
    let asked = browser.script(asked, serde_json::json!([]));
    let own = |name: &serde_json::Value| name.as_str().unwrap().starts_with(&address(&server));
    assert!(asked.as_array().unwrap().iter().all(own), "{asked}");
}

#[test]
fn a_file_is_given_to_a_job_by_the_form_of_its_jobspec() {
    let Some(browser) = Chromium::start() else { return };
    let home = Home::with_samples(CONFIG);
    let server = home.serve();
    let notes = home.path("notes.txt");
    std::fs::write(&notes, "one two\nthree\n").unwrap();
    browser.open(&format!("{}/docs", address(&server)));
    let operation = "#operations-Jobs-run_word_count_with_files";
    let within = |what: &str| format!("{operation} {what}");
    browser.click(&within(".opblock-summary-control"));
    browser.click(&within(".try-out__btn"));
    browser.type_into(&within("input[type=file]"), notes.to_str().unwrap());
    browser.click(&within(".execute"));
    let answer = within(".live-responses-table");
    eventually("the page shows the answer", || browser.text(&answer).contains("notes.txt: 2 lines, 3 words"));
    browser.picture(operation, &picture(&home, "file.png"));
    assert_content(&browser);
}

#[test]
fn who_has_a_token_gives_it_to_the_page() {
    let Some(browser) = Chromium::start() else { return };
    let home = Home::with_samples(&format!("{CONFIG}{GUARDED}"));
    let token = token_of(&home, "submit");
    let server = home.serve();
    browser.open(&format!("{}/docs", address(&server)));
    let operation = "#operations-Jobs-runJobspec";
    let within = |what: &str| format!("{operation} {what}");
    let answer = within(".live-responses-table");
    browser.click(&within(".opblock-summary-control"));
    browser.click(&within(".try-out__btn"));
    browser.type_into(&within("tr[data-param-name=jobspec] input"), "hello");
    browser.click(&within(".execute"));
    eventually("the page shows the refusal", || browser.text(&answer).contains("unauthorized"));
    browser.click(".auth-wrapper .authorize");
    browser.type_into(".auth-container input", &token);
    browser.click(".auth-container .authorize");
    browser.click(".auth-container .btn-done");
    browser.click(&within(".execute"));
    eventually("the page shows the answer", || browser.text(&answer).contains("completed"));
    browser.picture(operation, &picture(&home, "token.png"));
}

#[test]
fn what_the_page_may_not_do_is_complained_about() {
    let Some(browser) = Chromium::start() else { return };
    let home = Home::with_samples(CONFIG);
    let server = home.serve();
    browser.open(&format!("{}/docs", address(&server)));
    browser.click("#operations-Jobs-run_hello .opblock-summary-control");
    assert_content(&browser);
    let send = "return fetch('https://evil.example/').then(() => 'sent', () => 'refused')";
    assert_eq!(browser.script(send, serde_json::json!([])), "refused");
    eventually("the browser says why", || browser.complaints().iter().any(|text| text.contains("connect-src")));
}
