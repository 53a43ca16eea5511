//! The output of an attempt that runs: the last MiB of it, as its worker has written it to the database.

use std::ops::Range;

use poem::http::HeaderMap;

use super::super::super::super::range::{Wanted, wanted};
use super::super::super::problem::Problem;
use super::source::Asked;
use super::{LogsAnswer, Raw, not_there, unavailable};
use crate::domain::gap;
use crate::store::{Live, Store, StoreError};

/// Answers with what is there at this moment.
pub(super) async fn send(
    store: &Store,
    asked: &Asked,
    attempt: i64,
    headers: &HeaderMap,
) -> Result<LogsAnswer, Problem> {
    let pieces = all(store, asked, attempt).await.map_err(|error| unavailable(asked.id, error))?;
    let end = pieces.last().map_or(0, end);
    let part = match wanted(headers, end, "") {
        Wanted::Whole | Wanted::Unchanged => return Ok(LogsAnswer::Whole(Raw::of(whole(&pieces), "no-store"))),
        Wanted::Unsatisfiable => return Ok(not_there(end)),
        Wanted::Part(part) => part,
    };
    let Some((start, bytes)) = first(&pieces, &part) else { return Ok(not_there(end)) };
    let last = start + bytes.len() as u64 - 1;
    let raw = Raw::of(bytes.to_vec(), "no-store").with("content-range", format_args!("bytes {start}-{last}/*"));
    Ok(LogsAnswer::Part(raw))
}

fn end(piece: &Live) -> u64 {
    piece.start + piece.bytes.len() as u64
}

/// What is there, in order; between two pieces something is missing.
async fn all(store: &Store, asked: &Asked, attempt: i64) -> Result<Vec<Live>, StoreError> {
    let mut pieces: Vec<Live> = Vec::new();
    loop {
        let from = pieces.last().map_or(0, end);
        let next = store.live(asked.id, attempt, asked.stream, from).await?;
        match pieces.last_mut() {
            _ if next.bytes.is_empty() => return Ok(pieces),
            Some(last) if next.start == from => last.bytes.extend_from_slice(&next.bytes),
            _ => pieces.push(next),
        }
    }
}

/// All that is there, with a line for each gap.
fn whole(pieces: &[Live]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut from = 0;
    for piece in pieces {
        text.extend(missing(from, piece));
        text.extend_from_slice(&piece.bytes);
        from = end(piece);
    }
    text
}

/// The line for what is missing before a piece, where something is.
pub(super) fn missing(from: u64, piece: &Live) -> Vec<u8> {
    if piece.start > from { gap::note(piece.start - from).into_bytes() } else { Vec::new() }
}

/// The first bytes of a part that are there, without a gap, and the number of the first of them.
fn first<'p>(pieces: &'p [Live], part: &Range<u64>) -> Option<(u64, &'p [u8])> {
    pieces.iter().find_map(|piece| {
        let (start, stop) = (part.start.max(piece.start), part.end.min(end(piece)));
        let index = |byte: u64| usize::try_from(byte - piece.start).ok();
        (start < stop).then_some((start, piece.bytes.get(index(start)?..index(stop)?)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_what_is_there_of_it() {
        let piece = |start, bytes: &[u8]| Live { start, bytes: bytes.to_vec(), time: (0, 0) };
        let pieces = [piece(4, b"efgh"), piece(20, b"uvw")];
        assert_eq!(first(&pieces, &(0..100)), Some((4, &b"efgh"[..])));
        assert_eq!(first(&pieces, &(5..7)), Some((5, &b"fg"[..])));
        assert_eq!(first(&pieces, &(8..22)), Some((20, &b"uv"[..])));
        assert_eq!(first(&pieces, &(9..20)), None);
        let whole = String::from_utf8(whole(&pieces)).unwrap();
        assert_eq!(whole, "\n[jobmgr: 4 bytes left out here]\nefgh\n[jobmgr: 12 bytes left out here]\nuvw");
    }
}
