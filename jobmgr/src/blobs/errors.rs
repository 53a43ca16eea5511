use std::error::Error;
use std::io::{self, ErrorKind};

/// What can go wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// There is no object of this key.
    #[error("the store has no object {0}")]
    Missing(String),
    /// The store can't be reached or refuses now: trying again may help.
    #[error("the object store is not available: {0}")]
    Unavailable(String),
    /// The configuration can't serve.
    #[error("{0}")]
    Unusable(String),
    /// The local file that was to be uploaded failed.
    #[error("{0}")]
    Source(#[from] io::Error),
}

/// Codes with which a store says that its configuration is wrong, whatever the status (S3's names, then Azure's).
const SETTINGS: &[(&str, &str)] = &[
    ("NoSuchBucket", "there is no such bucket"),
    ("InvalidBucketName", "this can't be a bucket's name"),
    ("ContainerNotFound", "there is no such container"),
    ("RequestTimeTooSkewed", "this machine's clock is wrong"),
    ("InvalidAccessKeyId", "it does not know the access key"),
    ("SignatureDoesNotMatch", "the secret access key is wrong"),
    ("ExpiredToken", "the session token has expired"),
    ("AuthorizationHeaderMalformed", "the region is wrong"),
    ("incorrectly configured region", "the region is wrong"),
    ("PermanentRedirect", "the bucket is in another region or at another endpoint"),
    ("AccountIsDisabled", "the account is disabled"),
];

/// What an error of the store means to those who asked for `key` in `place`.
pub(super) fn classify(error: object_store::Error, key: &str, place: &str) -> BlobError {
    use object_store::Error as E;
    let text = whole_text(&error);
    if let Some((_, meaning)) = SETTINGS.iter().find(|(code, _)| text.contains(code)) {
        return BlobError::Unusable(format!("{place}: {meaning} ({})", brief(&text)));
    }
    if let Some(io) = cause::<io::Error>(&error)
        && matches!(error, E::Generic { .. })
    {
        return classify_io(io, &text, place);
    }
    match error {
        E::NotFound { .. } => BlobError::Missing(key.to_owned()),
        E::PermissionDenied { .. } => BlobError::Unusable(format!("{place}: access denied ({})", brief(&text))),
        E::Unauthenticated { .. } => {
            BlobError::Unusable(format!("{place}: the credentials are not accepted ({})", brief(&text)))
        }
        E::NotSupported { .. }
        | E::NotImplemented { .. }
        | E::InvalidPath { .. }
        | E::UnknownConfigurationKey { .. } => BlobError::Unusable(format!("{place}: {text}")),
        _ if text.contains("169.254.169.254") || text.contains("metadata.google.internal") => {
            BlobError::Unusable(format!(
                "{place}: no credentials in [Storage] Options or the environment, and this machine has none of its \
                 own ({})",
                brief(&text)
            ))
        }
        _ => BlobError::Unavailable(format!("{place}: {}", brief(&text))),
    }
}

/// Failures of a folder, and of the network, which come as the same type.
fn classify_io(io: &io::Error, text: &str, place: &str) -> BlobError {
    match io.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            BlobError::Unavailable(format!("{place}: no space left ({})", brief(text)))
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem | ErrorKind::NotADirectory => {
            BlobError::Unusable(format!("{place}: {}", brief(text)))
        }
        _ => BlobError::Unavailable(format!("{place}: {}", brief(text))),
    }
}

/// The error and its causes, as far as they are not part of its text already.
fn whole_text(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = cause.source();
    }
    text
}

/// The first cause of this type.
fn cause<'e, T: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// One line of at most 500 characters; of an XML answer, its code and message.
fn brief(text: &str) -> String {
    let tag = |name: &str| {
        let rest = text.split_once(&format!("<{name}>"))?.1;
        Some(rest.split_once("</")?.0)
    };
    let line = match (tag("Code"), tag("Message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        _ => text.split_whitespace().collect::<Vec<_>>().join(" "),
    };
    match line.char_indices().nth(500) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(source: impl Into<Box<dyn Error + Send + Sync>>) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: source.into() }
    }

    #[test]
    fn full_disk_may_pass_and_denied_folder_may_not() {
        let full = classify(generic(io::Error::from(ErrorKind::StorageFull)), "k", "folder /x");
        assert!(matches!(&full, BlobError::Unavailable(text) if text.contains("no space left")), "{full}");
        let denied = classify(generic(io::Error::from(ErrorKind::PermissionDenied)), "k", "folder /x");
        assert!(matches!(&denied, BlobError::Unusable(text) if text.contains("folder /x")), "{denied}");
    }

    #[test]
    fn missing_bucket_is_not_a_missing_object() {
        let body = "<?xml?><Error><Code>NoSuchBucket</Code><Message>The bucket does not exist</Message></Error>";
        let error = object_store::Error::NotFound { path: "k".into(), source: body.into() };
        let text = classify(error, "k", "s3://b").to_string();
        assert_eq!(text, "s3://b: there is no such bucket (NoSuchBucket: The bucket does not exist)");
        let error = object_store::Error::NotFound { path: "k".into(), source: "gone".into() };
        assert!(matches!(classify(error, "k", "s3://b"), BlobError::Missing(key) if key == "k"));
    }

    #[test]
    fn texts_are_short_and_of_one_line() {
        let text = classify(generic("x\n".repeat(10_000)), "k", "s3://b").to_string();
        assert!(text.len() < 600 && !text.contains('\n'), "{text}");
    }
}
