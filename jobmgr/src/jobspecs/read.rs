//! Reading one file, which may be anything.

use std::io::{self, Read};
use std::path::Path;

use super::{Looks, platform};
use crate::domain::jobspec::{ExecutorCheck, Jobspec};
use crate::domain::settings::{Mistake, Place};

/// How large a jobspec may be, in bytes.
const MAX_SIZE: u64 = 1 << 20;

/// Reads the file: how it looked before, and its jobspec or what is wrong with it.
pub(super) fn file(path: &Path, check: &ExecutorCheck) -> io::Result<(Looks, Result<Jobspec, String>)> {
    let file = platform::open(path)?;
    let metadata = file.metadata()?;
    // Taken first: what changes while it is read looks different afterwards.
    let looks = Looks::of(&metadata);
    if !metadata.is_file() {
        return Ok((looks, Err("is not a regular file".to_owned())));
    }
    let mut bytes = Vec::new();
    file.take(MAX_SIZE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_SIZE {
        return Ok((looks, Err(format!("is larger than {MAX_SIZE} bytes; a jobspec is not"))));
    }
    Ok((looks, parse(&bytes, check).map_err(|mistake| mistake.to_string())))
}

fn parse(bytes: &[u8], check: &ExecutorCheck) -> Result<Jobspec, Mistake> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Jobspec::parse_checked(text, check),
        Err(error) => {
            let readable = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            Err(Mistake { place: Place::of(&readable, readable.len()), text: "the text is not UTF-8".to_owned() })
        }
    }
}
