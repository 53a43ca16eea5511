use std::time::{Duration, Instant};

use super::Verdict;
use super::platform;
use super::subject::{Subject, quote};
use crate::runner::plugin::{Loaded, THREADS, find};

/// How long the library itself may take to open, beyond what a runner takes without one.
const QUICK: Duration = Duration::from_millis(100);
/// How often it is opened to find its time; the best counts, since the machine does other things too.
const TIMES: u32 = 5;

/// 1: it can be opened, with all symbols that it needs, and nobody else may change it.
pub(super) async fn opens(subject: &Subject) -> Result<(Verdict, Loaded), String> {
    let found = find(&subject.path)?;
    let runner = subject.open().await?;
    let loaded = runner.loaded().clone();
    runner.end().await;
    let said = format!("{}, sha256 {}", crate::cli::check::in_short(&loaded), found.sha256);
    Ok((Verdict::Good(said), loaded))
}

/// 3: eight processes at once hear the same, and it is what it should be.
pub(super) async fn same(subject: &Subject, about: &Loaded) -> Verdict {
    let opened = futures_util::future::join_all((0..8).map(|_| subject.open())).await;
    for opened in opened {
        match opened {
            Ok(runner) if runner.loaded() == about => {}
            Ok(_) => return Verdict::Wrong("it describes itself in other words at other times".into()),
            Err(why) => return Verdict::Wrong(format!("one of eight at once could not be opened: {why}")),
        }
    }
    let description = &about.description;
    let name = &description.name;
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
    if name.is_empty() || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(fits) {
        return Verdict::Wrong(format!("its name {name:?} has something else than a-z, 0-9, - and _"));
    }
    if description.version.is_empty() {
        return Verdict::Wrong("it does not tell its version".into());
    }
    let schemas = [("options_schema", &description.options_schema), ("config_schema", &description.config_schema)];
    for (what, schema) in schemas {
        if !schema.is_object() {
            return Verdict::Wrong(format!("'{what}' is missing; {{\"type\": \"object\"}} says the least"));
        }
        if let Err(error) = jsonschema::validator_for(schema) {
            return Verdict::Wrong(format!("'{what}' is no JSON Schema: {error}"));
        }
    }
    Verdict::Good(format!("as {name}, eight times the same"))
}

/// 4: opening it takes little time, prints nothing and starts nothing.
pub(super) async fn quiet(subject: &Subject) -> Verdict {
    match opening(subject).await {
        Ok(took) if took > QUICK => Verdict::Wrong(format!("opening it takes {took:.0?}; at most {QUICK:?} are right")),
        Ok(took) => Verdict::Good(format!("in {took:.1?}, without a word and without threads")),
        Err(why) => Verdict::Wrong(why),
    }
}

async fn opening(subject: &Subject) -> Result<Duration, String> {
    let (mut best, mut bare) = (Duration::MAX, Duration::MAX);
    for _ in 0..TIMES {
        let since = Instant::now();
        let mut nothing = subject.load(subject.path.with_file_name("no such library"), None).await?;
        // It fails: there is no such file.
        drop(nothing.ready(|_| Ok(())).await);
        bare = bare.min(since.elapsed());
        nothing.end().await;
        let since = Instant::now();
        let runner = subject.open().await?;
        best = best.min(since.elapsed());
        let threads = settled(runner.pid()).await;
        let printed = runner.end().await;
        if !printed.is_empty() {
            return Err(format!("it prints while it is opened{}", quote(&printed)));
        }
        if let Some(threads) = threads.and_then(|threads| threads.checked_sub(THREADS)).filter(|threads| *threads > 0) {
            return Err(format!("it starts {threads} threads while it is opened; start them with the first job"));
        }
    }
    Ok(best.saturating_sub(bare))
}

/// How many threads there are when those have gone that stay for a moment.
async fn settled(pid: Option<u32>) -> Option<usize> {
    let until = Instant::now() + Duration::from_secs(1);
    loop {
        let threads = platform::threads(pid?)?;
        if threads <= THREADS || Instant::now() > until {
            return Some(threads);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// 16: what is worth to know of how it was built.
pub(super) fn build(about: &Loaded) -> Verdict {
    let description = &about.description;
    let mut notes = Vec::new();
    if description.debug {
        notes.push("it was built without optimisations (cargo build --release)");
    }
    if description.unwinds == Some(false) {
        notes.push("with panic = \"abort\" a panic ends its process and has no text in the job's result");
    }
    if notes.is_empty() { Verdict::Good("nothing to note".into()) } else { Verdict::Note(notes.join("; ")) }
}
