//! A job's output as the classic API shows it: the beginning of its standard output and, if it failed, why.

use super::super::output;
use crate::blobs::{BlobError, Blobs};
use crate::domain::job::{Ended, Status};

/// The text of a finished job: at most `limit` bytes of its standard output.
///
/// # Errors
/// When the output is in the store and the store can't be read.
pub async fn result(status: Status, ended: &mut Ended, limit: u64, blobs: &Blobs) -> Result<String, BlobError> {
    let (text, _) = output::beginning(std::mem::take(&mut ended.stdout), limit, blobs).await?;
    let error = ended.error.take().filter(|_| status != Status::Completed);
    Ok(with_error(text, error))
}

/// The output, on lines of its own, and then the error.
fn with_error(mut text: String, error: Option<String>) -> String {
    let Some(error) = error else { return text };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&error);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_stands_on_its_own_line() {
        let with = |text: &str, error: Option<&str>| with_error(text.to_owned(), error.map(str::to_owned));
        assert_eq!(with("", Some("exit status 3")), "exit status 3");
        assert_eq!(with("a", Some("exit status 3")), "a\nexit status 3");
        assert_eq!(with("a\n", Some("exit status 3")), "a\nexit status 3");
        assert_eq!(with("a", None), "a");
    }
}
