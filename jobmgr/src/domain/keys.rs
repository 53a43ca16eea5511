//! Where objects are in the store: those of a job in `jobs/INSTALLATION/JOB/ATTEMPT/...`, uploaded files in
//! `inputs/INSTALLATION/...`. Nothing of a key comes from a job or a client, and two installations may share a bucket.

use super::job::JobId;

/// Below which all objects of an installation are.
pub fn of_installation(installation: &str) -> String {
    format!("jobs/{installation}")
}

/// Below which all objects of a job are.
pub fn of_job(installation: &str, job: JobId) -> String {
    format!("jobs/{installation}/{job}")
}

/// Below which all objects of an attempt are.
pub fn of_attempt(installation: &str, job: JobId, attempt: i64) -> String {
    format!("jobs/{installation}/{job}/{attempt}")
}

/// Below which an attempt's objects are that others upload.
pub fn of_grants(installation: &str, job: JobId, attempt: i64) -> String {
    format!("jobs/{installation}/{job}/{attempt}/g")
}

/// The object that others upload with the grant of this number.
pub fn of_grant(installation: &str, job: JobId, attempt: i64, slot: u32) -> String {
    format!("{}/{slot}", of_grants(installation, job, attempt))
}

/// Below which all uploaded files of an installation are.
pub fn of_inputs(installation: &str) -> String {
    format!("inputs/{installation}")
}

/// The object of an uploaded file; `unique`: a word that no other has.
pub fn of_input(installation: &str, unique: &str) -> String {
    format!("inputs/{installation}/{unique}")
}

/// The job and the attempt that an object of this installation belongs to.
pub fn owner(installation: &str, key: &str) -> Option<(JobId, i64)> {
    let rest = key.strip_prefix(&of_installation(installation))?.strip_prefix('/')?;
    let mut parts = rest.split('/');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_tells_whose_it_is() {
        assert_eq!(owner("a1", "jobs/a1/17/2/0"), Some((17, 2)));
        assert_eq!(owner("a1", &format!("{}/stdout", of_attempt("a1", 3, 1))), Some((3, 1)));
        for other in ["jobs/a2/17/2/0", "jobs/a1/x/2/0", "jobs/a1", "jobs/a1/17", "17/uuid", "jobs/a11/17/2/0"] {
            assert_eq!(owner("a1", other), None, "{other}");
        }
    }
}
