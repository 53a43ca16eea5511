use std::error::Error as _;
use std::io::ErrorKind;

use jobmgr_plugin_api::{Error, Kind};
use kube::core::Status;

/// What a failure of the API means for the job: whether it may go better later, and whether an order may have been
/// taken all the same ([`Kind::Lost`]).
pub fn refusal(what: &str, error: &kube::Error) -> Error {
    match error {
        kube::Error::Api(status) => refused(what, status),
        kube::Error::Auth(why) => Error::failed(format!("{what}: the kubeconfig's credentials can't be had: {why}")),
        _ if is_unreachable(error) => Error::retry(format!("{what}: {}", whole(error))),
        kube::Error::BuildRequest(_) | kube::Error::HttpError(_) => Error::failed(format!("{what}: {}", whole(error))),
        _ => Error::lost(format!("{what}: {}", whole(error))),
    }
}

fn refused(what: &str, status: &Status) -> Error {
    let (code, words) = (status.code, status.message.trim());
    let (kind, hint) = match code {
        401 => (Kind::Invalid, "; the API server does not know these credentials: see 'Kubeconfig' and 'Context'"),
        // A quota has room again when others have ended.
        403 if words.contains("exceeded quota") => (Kind::Retry, ""),
        403 => (Kind::Invalid, "; jobmgr's account needs a Role for this, which the README has"),
        404 if what == CREATE => (Kind::Invalid, "; 'Namespace' must be one that exists"),
        404 if status.reason != "NotFound" => (Kind::Invalid, "; is this the address of a Kubernetes API server?"),
        400 | 404 | 405 | 406 | 413 | 415 | 422 => (Kind::Invalid, ""),
        // 409, 410, 429, 5xx
        _ => (Kind::Retry, ""),
    };
    let words = if words.is_empty() { "no reason given" } else { words };
    Error::new(kind, format!("{what}: {code}: {words}{hint}"))
}

/// What is said of an order to create a Job.
pub const CREATE: &str = "creating the Job";

/// Whether the request has surely not left.
fn is_unreachable(error: &kube::Error) -> bool {
    let mut source = error.source();
    while let Some(why) = source {
        if let Some(io) = why.downcast_ref::<std::io::Error>() {
            let kinds = [ErrorKind::ConnectionRefused, ErrorKind::HostUnreachable, ErrorKind::NetworkUnreachable];
            return kinds.contains(&io.kind());
        }
        source = why.source();
    }
    false
}

/// With the reasons behind it, which the outermost error does not tell.
fn whole(error: &kube::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(why) = source {
        let words = why.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        source = why.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use jobmgr_plugin_api::Kind;
    use kube::core::Status;

    use super::{CREATE, refusal};

    #[test]
    fn answers_are_told_apart() {
        let cases = [
            (401, "Unauthorized", "Unauthorized", Kind::Invalid, "see 'Kubeconfig'"),
            (403, "Forbidden", "jobs.batch is forbidden: User \"x\" cannot create", Kind::Invalid, "needs a Role"),
            (403, "Forbidden", "forbidden: exceeded quota: small, requested: count/jobs.batch=1", Kind::Retry, "quota"),
            (404, "NotFound", "namespaces \"x\" not found", Kind::Invalid, "'Namespace' must be one that exists"),
            (409, "Conflict", "the object has been modified", Kind::Retry, "modified"),
            (410, "Expired", "too old", Kind::Retry, "too old"),
            (422, "Invalid", "spec.template: Required value", Kind::Invalid, "Required value"),
            (429, "TooManyRequests", "", Kind::Retry, "429: no reason given"),
            (500, "InternalError", "etcdserver: leader changed", Kind::Retry, "leader"),
            (503, "ServiceUnavailable", "x", Kind::Retry, "503"),
        ];
        for (code, reason, words, kind, want) in cases {
            let status = Status::failure(words, reason).with_code(code).boxed();
            let error = refusal(CREATE, &kube::Error::Api(status));
            assert_eq!(error.kind(), kind, "{code}");
            assert!(error.to_string().contains(want), "{error}");
        }
    }
}
