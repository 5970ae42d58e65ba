//! Commands as they lie in a batch (see `python/madang/wire/commands.py` and `batch.py`).
//!
//! `Batch::parse` checks the framing of all of them before the first is applied. `Command::parse` then
//! tells whether one record's lengths add up; its fields are judged where it is applied.

use crate::bytes::{i64_at, key_at, padded, u16_at, u32_at, u64_at};
use crate::codes::command;

const MAGIC: u32 = 0x3142_444D;
const BATCH_HEADER: usize = 48;
/// Bytes that memory gives at a time.
const CACHE_LINE: usize = 64;
/// Bytes of a command's header.
pub(crate) const HEADER: usize = 24;

/// Why a batch cannot be applied; nothing was changed.
#[derive(Debug, PartialEq, Eq)]
pub enum BatchError {
    /// The bytes are not a batch.
    Malformed(&'static str),
    /// The batch does not follow the one before.
    OutOfOrder(&'static str),
}

/// A batch whose framing holds.
pub(crate) struct Batch<'a> {
    pub(crate) sequence: u64,
    pub(crate) now_ns: i64,
    pub(crate) commands: &'a [u8],
}

impl<'a> Batch<'a> {
    pub(crate) fn parse(data: &'a [u8]) -> Result<Batch<'a>, BatchError> {
        let malformed = |why| Err(BatchError::Malformed(why));
        // Each record's place follows from the one before: the memory is read in one go instead.
        std::hint::black_box(data.iter().step_by(CACHE_LINE).fold(0, |seen, byte| seen ^ byte));
        if data.len() < BATCH_HEADER {
            return malformed("batch header cut");
        }
        if u32_at(data, 0) != MAGIC {
            return malformed("wrong magic of a batch");
        }
        if u32_at(data, 8) as usize != data.len() {
            return malformed("the batch's length is not that of its bytes");
        }
        let (count, used) = (u32_at(data, 40), u32_at(data, 44) as usize);
        if count == 0 || BATCH_HEADER + padded(used) != data.len() {
            return malformed("impossible counts of a batch");
        }
        let commands = &data[BATCH_HEADER..BATCH_HEADER + used];
        let mut found = 0;
        let mut rest = commands;
        while !rest.is_empty() {
            if rest.len() < HEADER {
                return malformed("command header cut");
            }
            let length = u16_at(rest, 0) as usize;
            if length < HEADER || length % 8 != 0 || length > rest.len() {
                return malformed("impossible length of a command");
            }
            rest = &rest[length..];
            found += 1;
        }
        if found != count {
            return malformed("the batch's count is not that of its commands");
        }
        Ok(Batch { sequence: u64_at(data, 24), now_ns: i64_at(data, 32), commands })
    }
}

/// The fixed fields of one command.
pub(crate) struct Command<'a> {
    pub(crate) kind: u8,
    pub(crate) account: u32,
    pub(crate) request: [u64; 2],
    record: &'a [u8],
}

impl<'a> Command<'a> {
    #[inline]
    pub(crate) fn new(record: &'a [u8]) -> Command<'a> {
        let (kind, account, request) = (record[2], u32_at(record, 4), key_at(record, 8));
        Command { kind, account, request, record }
    }

    /// The body and the texts behind it, where all lengths add up.
    #[inline]
    pub(crate) fn parts(&self) -> Option<(&'a [u8], &'a [u8])> {
        let size = body_size(self.kind)?;
        let body = self.record.get(HEADER..HEADER + size)?;
        let texts = text_length(self.kind, body);
        if padded(HEADER + size + texts) != self.record.len() {
            return None;
        }
        Some((body, &self.record[HEADER + size..HEADER + size + texts]))
    }

    /// The order that the command names: a refusal still tells it.
    pub(crate) fn asked_order(&self) -> u64 {
        match self.kind {
            command::REPLACE_ORDER | command::CANCEL_ORDER => {
                self.parts().map_or(0, |(body, _)| u64_at(body, 0))
            }
            _ => 0,
        }
    }

    /// The key of a record that is long enough to have one; it may still turn out malformed.
    #[inline]
    pub(crate) fn client_key(&self) -> Option<[u64; 2]> {
        let at = match self.kind {
            command::NEW_ORDER => HEADER + 48,
            command::REPLACE_ORDER => HEADER + 40,
            _ => return None,
        };
        (self.record.len() >= at + 16).then(|| key_at(self.record, at))
    }

    /// The order that a record names which is long enough for it; it may still turn out malformed.
    #[inline]
    pub(crate) fn named_order(&self) -> Option<u64> {
        let names = matches!(self.kind, command::REPLACE_ORDER | command::CANCEL_ORDER);
        (names && self.record.len() >= HEADER + 8).then(|| u64_at(self.record, HEADER))
    }

    pub(crate) fn is_order(&self) -> bool {
        self.kind == command::NEW_ORDER || self.kind == command::REPLACE_ORDER
    }
}

fn body_size(kind: u8) -> Option<usize> {
    Some(match kind {
        command::NEW_ORDER => 64,
        command::REPLACE_ORDER => 56,
        command::SET_INSTRUMENT => 32,
        command::TRANSFER | command::SET_LIMITS => 16,
        command::CANCEL_ALL | command::END_DAY => 0,
        command::CANCEL_ORDER
        | command::CREATE_ACCOUNT
        | command::SET_ACCOUNT
        | command::SET_CREDENTIAL
        | command::SET_SESSION
        | command::SET_FEES
        | command::EXPIRE_KEYS
        | command::SET_RULES => 8,
        _ => return None,
    })
}

fn text_length(kind: u8, body: &[u8]) -> usize {
    match kind {
        command::NEW_ORDER => body[41] as usize,
        command::REPLACE_ORDER => body[33] as usize,
        command::CREATE_ACCOUNT => body[0] as usize,
        command::SET_CREDENTIAL => body[1] as usize + u16_at(body, 2) as usize,
        command::SET_INSTRUMENT => body[28] as usize + body[29] as usize + body[30] as usize,
        _ => 0,
    }
}

/// What a `NEW_ORDER` asks for.
pub(crate) struct NewOrder {
    pub(crate) instrument: u32,
    pub(crate) side: u8,
    pub(crate) kind: u8,
    pub(crate) time_in_force: u8,
    pub(crate) self_trade: u8,
    pub(crate) quantity: i64,
    pub(crate) notional: i64,
    pub(crate) limit: i64,
    pub(crate) stop: i64,
    pub(crate) flags: u8,
    pub(crate) key: [u64; 2],
}

impl NewOrder {
    pub(crate) fn parse(body: &[u8]) -> NewOrder {
        NewOrder {
            instrument: u32_at(body, 0),
            side: body[4],
            kind: body[5],
            time_in_force: body[6],
            self_trade: body[7],
            quantity: i64_at(body, 8),
            notional: i64_at(body, 16),
            limit: i64_at(body, 24),
            stop: i64_at(body, 32),
            flags: body[40],
            key: key_at(body, 48),
        }
    }
}

/// What a `REPLACE_ORDER` changes; 0 leaves a field as it is.
pub(crate) struct Replacement {
    pub(crate) order_id: u64,
    pub(crate) quantity: i64,
    pub(crate) limit: i64,
    pub(crate) stop: i64,
    pub(crate) time_in_force: u8,
    pub(crate) key: [u64; 2],
}

impl Replacement {
    pub(crate) fn parse(body: &[u8]) -> Replacement {
        Replacement {
            order_id: u64_at(body, 0),
            quantity: i64_at(body, 8),
            limit: i64_at(body, 16),
            stop: i64_at(body, 24),
            time_in_force: body[32],
            key: key_at(body, 40),
        }
    }
}
