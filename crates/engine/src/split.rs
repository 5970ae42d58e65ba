//! Sorting the events of one batch by who waits for them (the twin of `python/madang/wire/split.py`).

use std::collections::BTreeMap;

use crate::bytes::{u16_at, u32_at};
use crate::codes::event;

const HEADER: usize = 32;

/// RESULT records in order, and the ORDER events of each account, joined.
pub struct Split<'a> {
    /// One per command.
    pub results: Vec<&'a [u8]>,
    /// By account, ascending.
    pub orders: BTreeMap<u32, Vec<u8>>,
}

/// Sort concatenated events.
///
/// # Errors
/// Where the records do not follow one another.
pub fn split(events: &[u8]) -> Result<Split<'_>, &'static str> {
    let mut sorted = Split { results: Vec::new(), orders: BTreeMap::new() };
    let mut rest = events;
    while !rest.is_empty() {
        if rest.len() < HEADER {
            return Err("event header cut");
        }
        let length = u16_at(rest, 0) as usize;
        if length < HEADER || length > rest.len() {
            return Err("impossible length of an event");
        }
        let (record, after) = rest.split_at(length);
        match record[2] {
            event::RESULT => sorted.results.push(record),
            event::ORDER => {
                sorted.orders.entry(u32_at(record, 4)).or_default().extend_from_slice(record);
            }
            _ => {}
        }
        rest = after;
    }
    Ok(sorted)
}
