//! What the engine's answers mean.

use std::io::ErrorKind;

use bollard::errors::Error as Answer;
use jobmgr_plugin_api::Error;

/// Why a call of the engine did not do.
#[derive(Debug)]
pub enum Failure {
    /// There is nobody, or the line broke: it may be there again in a moment.
    Away(String),
    /// The engine said no.
    Refused {
        /// Of HTTP.
        status: u16,
        /// The engine's words.
        message: String,
    },
    /// Anything for which asking again is no use.
    Other(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Other(error)
    }
}

impl From<Answer> for Failure {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::DockerResponseServerError { status_code, message } => {
                Failure::Refused { status: status_code, message: message.trim().to_owned() }
            }
            Answer::RequestTimeoutError => Failure::Away("it does not answer".into()),
            Answer::SocketNotFoundError(_) => Failure::Away("there is no such socket".into()),
            Answer::IOError { err } => broken(&err),
            Answer::HyperResponseError { err } => broken(&err),
            Answer::HyperLegacyError { err } => broken(&err),
            Answer::DockerStreamError { error } => Failure::Away(error),
            other => Failure::Other(Error::failed(format!("the engine's answer can't be understood: {other}"))),
        }
    }
}

/// A connection that was not made, or broke.
fn broken(error: &(dyn std::error::Error + 'static)) -> Failure {
    let mut last = error;
    loop {
        if let Some(io) = last.downcast_ref::<std::io::Error>()
            && io.kind() == ErrorKind::PermissionDenied
        {
            return Failure::Other(Error::failed(
                "this user may not use the engine's socket (permission denied): add it to the socket's group, mostly \
                 `docker`, or name the socket of an engine of its own in [Executors.docker.Config] Host",
            ));
        }
        match last.source() {
            Some(source) => last = source,
            None => return Failure::Away(last.to_string()),
        }
    }
}

/// Whether the engine's machine lacks something now that it may have later.
pub fn is_shortage(message: &str) -> bool {
    let message = message.to_lowercase();
    [
        "no space left",
        "resource temporarily unavailable",
        "cannot allocate memory",
        "too many open files",
        "device or resource busy",
    ]
    .iter()
    .any(|words| message.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn io(kind: ErrorKind) -> Failure {
        Failure::from(Answer::IOError { err: kind.into() })
    }

    #[test]
    fn a_socket_that_is_closed_to_us_is_not_an_engine_that_is_away() {
        assert!(
            matches!(io(ErrorKind::PermissionDenied), Failure::Other(error) if error.to_string().contains("group"))
        );
        assert!(matches!(io(ErrorKind::ConnectionRefused), Failure::Away(_)));
        assert!(matches!(Failure::from(Answer::RequestTimeoutError), Failure::Away(_)));
    }
}
