//! The matching engine of Madang: a deterministic state machine over batches of commands.
//!
//! The rules are `docs/rules.md`; a readable twin in Python does exactly the same, event for event, and
//! a test compares both. There is no clock, no I/O, no float, no unsafe code and no dependency here:
//! bytes come in, bytes go out. Refusals are events. A panic means that an invariant broke; the state is
//! then worth nothing and the process has to end.

#![forbid(unsafe_code)]

mod account;
mod admin;
mod bytes;
mod check;
mod codes;
mod command;
mod engine;
mod entry;
mod history;
mod instrument;
mod ladder;
mod life;
mod matching;
mod money;
mod order;
mod output;
mod queries;
mod replace;
mod restore;
mod sha256;
mod snapshot;
mod table;

pub use command::BatchError;
pub use engine::Engine;
pub use queries::Statistics;
