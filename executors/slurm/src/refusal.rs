use jobmgr_plugin_api::Error;

use crate::command::Said;

/// The request may have arrived all the same.
const UNSURE: [&str; 4] =
    ["Socket timed out", "Zero Bytes were transmitted", "Message receive failure", "Unexpected message received"];
/// Nobody was there, or is not ready, or takes no more for now.
const PASSING: [&str; 17] = [
    "not available now",
    "Required partition not available",
    "I/O error writing script",
    "Unable to contact slurm controller",
    "Connection refused",
    "connect failure",
    "Communication connection failure",
    "communications connection failure",
    "standby mode",
    "temporarily unable",
    "Resource temporarily unavailable",
    "Could not establish a configuration source",
    "DNS SRV lookup failed",
    "SubmitJobsLimit",
    "MaxSubmitJob",
    "job submit limit",
    "Unable to connect to database",
];

/// What a command that failed means: whether it may go better later.
pub fn refusal(name: &str, said: &Said) -> Error {
    let words = if said.stderr.is_empty() { "it failed without a word" } else { &said.stderr };
    let text = format!("{name}: {words}");
    let says = |texts: &[&str]| texts.iter().any(|text| words.contains(text));
    if says(&UNSURE) {
        return Error::lost(text);
    }
    if says(&PASSING) { Error::retry(text) } else { Error::invalid(text) }
}

#[cfg(test)]
mod tests {
    use jobmgr_plugin_api::Kind;

    use super::{Said, refusal};
    use crate::command::words;

    #[test]
    fn the_words_of_a_command_say_what_follows() {
        let cases = [
            (
                "sbatch: error: invalid partition specified: x\n\nsbatch: error: Batch job submission failed: y",
                Kind::Invalid,
            ),
            ("sbatch: error: Unable to contact slurm controller (connect failure)", Kind::Retry),
            ("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", Kind::Lost),
            ("sbatch: error: QOSMaxSubmitJobPerUserLimit", Kind::Retry),
            ("", Kind::Invalid),
        ];
        for (stderr, kind) in cases {
            let said = Said { ok: false, stdout: String::new(), stderr: words(stderr, "sbatch") };
            assert_eq!(refusal("sbatch", &said).kind(), kind, "{stderr}");
        }
        assert_eq!(words(cases[0].0, "sbatch"), "invalid partition specified: x; Batch job submission failed: y");
    }
}
