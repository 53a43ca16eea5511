use crate::state::Record;

/// What one line about a job says.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub id: u64,
    pub record: Record,
    pub name: String,
    /// Empty where the source has none.
    pub comment: String,
}

impl Row {
    /// Whether it is about the job with this key: numbers are given again when a controller has lost its state.
    pub fn is_of(&self, key: &str) -> bool {
        self.name == key || self.comment == comment(key)
    }
}

/// Marks our jobs: others may have the same name.
pub fn comment(key: &str) -> String {
    format!("jobmgr:{key}")
}

/// A line of `squeue`, whose exit codes are those of wait(2).
pub fn queued(line: &str) -> Option<Row> {
    row(line, |code| code.parse().ok())
}

/// A line of `sacct`, whose exit codes are `5:0`, or `0:9` for a signal.
pub fn accounted(line: &str) -> Option<Row> {
    row(line, status)
}

fn row(line: &str, status: impl Fn(&str) -> Option<i32>) -> Option<Row> {
    let mut fields = line.splitn(7, '|').map(str::trim);
    let mut next = || fields.next().map(|field| if field == "(null)" { "" } else { field });
    let id = next()?.parse().ok()?;
    // `CANCELLED by 1000`
    let state = next()?.split_whitespace().next()?.to_owned();
    let status = status(next()?);
    let (reason, nodes, name) = (next()?.to_owned(), next()?.to_owned(), next()?.to_owned());
    let comment = next()?.trim_end_matches('|').trim_end().to_owned();
    Some(Row { id, record: Record { state, status, reason, nodes }, name, comment })
}

/// The line of `scontrol --oneliner show job`: `JobId=5 JobName=jm-1 UserId=...`.
pub fn shown(line: &str) -> Option<Row> {
    let comment = field(line, "Comment").unwrap_or_default().to_owned();
    Some(Row { name: field(line, "JobName")?.to_owned(), comment, ..named(line)? })
}

/// A line of the file of completed jobs: `JobId=5 UserId=... Name=jm-1 JobState=FAILED ... ExitCode=5:0`.
pub fn completed(line: &str) -> Option<Row> {
    Some(Row { name: field(line, "Name")?.to_owned(), ..named(line)? })
}

/// What both have: fields with their names.
fn named(line: &str) -> Option<Row> {
    let id = line.strip_prefix("JobId=")?.split(' ').next()?.parse().ok()?;
    let state = field(line, "JobState")?.to_owned();
    let text = |name| field(line, name).filter(|&text| text != "(null)").unwrap_or_default().to_owned();
    let record = Record {
        state,
        status: field(line, "ExitCode").and_then(status),
        reason: field(line, "Reason").unwrap_or("None").to_owned(),
        nodes: text("NodeList"),
    };
    Some(Row { id, record, name: String::new(), comment: String::new() })
}

/// Our names and comments have no space in them, and come before all that somebody else could have written.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
}

fn status(text: &str) -> Option<i32> {
    let (code, signal) = text.split_once(':')?;
    Some((code.parse::<i32>().ok()? << 8) | signal.parse::<i32>().ok()?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail where it likes")]

    use super::{accounted, completed, queued, shown};

    #[test]
    fn lines_of_every_kind_are_read() {
        let row = queued("5   |FAILED   |2304  |NonZeroExitCode  |n1  |jm-1  |jobmgr:jm-1  |").unwrap();
        assert_eq!((row.id, row.record.state.as_str(), row.record.status), (5, "FAILED", Some(9 << 8)));
        assert_eq!((row.name.as_str(), row.comment.as_str()), ("jm-1", "jobmgr:jm-1"));
        let row = accounted("6|CANCELLED by 0|0:15|None|n1|jm-2|").unwrap();
        assert_eq!((row.id, row.record.state.as_str(), row.record.status), (6, "CANCELLED", Some(15)));
        assert!(queued("slurm_load_jobs error").is_none());
        assert!(queued("").is_none());

        let line = "JobId=7 JobName=jm-7 UserId=root(0) JobState=TIMEOUT Reason=TimeLimit ExitCode=0:15 \
            ReqNodeList=(null) ExcNodeList=(null) NodeList=n[1-2] Comment=jobmgr:jm-7 ";
        let row = shown(line).unwrap();
        assert_eq!((row.id, row.record.state.as_str(), row.record.status), (7, "TIMEOUT", Some(15)));
        assert_eq!((row.record.reason.as_str(), row.record.nodes.as_str()), ("TimeLimit", "n[1-2]"));
        assert!(row.is_of("jm-7") && !row.is_of("jm-77"));

        let line = "JobId=8 UserId=root(0) GroupId=root(0) Name=jm-8 JobState=NODE_FAIL Partition=main NodeList=(null) \
            DerivedExitCode=9:0 ExitCode=0:1 ";
        let row = completed(line).unwrap();
        assert_eq!((row.name.as_str(), row.record.state.as_str(), row.record.status), ("jm-8", "NODE_FAIL", Some(1)));
        assert_eq!((row.record.reason.as_str(), row.record.nodes.as_str()), ("None", ""));
        for broken in ["", "JobId=x Name=a JobState=FAILED", "JobId=5 Name=a", " JobId=5 Name=a JobState=FAILED"] {
            assert_eq!(completed(broken), None, "{broken}");
        }
    }
}
