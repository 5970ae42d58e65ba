//! What can be asked of an engine: records of its state, each with an eight-byte header.

use crate::codes::{event, terms};
use crate::engine::Engine;
use crate::output::{
    append_account, append_credential, append_instrument, append_level, append_order,
    append_position, append_record,
};

/// Counts that tell how much an engine holds.
pub struct Statistics {
    /// Live orders.
    pub orders: u64,
    /// Client order ids remembered.
    pub keys: u64,
    /// Outcomes of requests remembered.
    pub requests: u64,
    /// Accounts, the fee account included.
    pub accounts: u64,
    /// Trades so far.
    pub trades: u64,
    /// Events so far, which is the number of the last.
    pub events: u64,
    /// The number of the trading session.
    pub session: u32,
    /// The session of the market as a whole.
    pub market_session: u8,
}

impl Engine {
    /// The ORDER record of a live order.
    pub fn order(&self, order_id: u64) -> Option<Vec<u8>> {
        let slot = self.orders.find(order_id)?;
        let mut records = Vec::new();
        append_record(&mut records, event::ORDER, |to| append_order(to, &self.orders, slot));
        Some(records)
    }

    /// The ORDER records of an account's live orders, ascending by id.
    pub fn orders(&self, account: u32) -> Vec<u8> {
        let mut records = Vec::new();
        if let Some(account) = self.accounts.get(account as usize) {
            for slot in account.orders(&self.orders) {
                append_record(&mut records, event::ORDER, |to| {
                    append_order(to, &self.orders, slot);
                });
            }
        }
        records
    }

    /// The ACCOUNT record of an account.
    pub fn account(&self, number: u32) -> Option<Vec<u8>> {
        let account = self.accounts.get(number as usize)?;
        let mut records = Vec::new();
        append_record(&mut records, event::ACCOUNT, |to| append_account(to, account));
        Some(records)
    }

    /// At most `limit` ACCOUNT records with numbers above `after`.
    pub fn accounts(&self, after: i64, limit: usize) -> Vec<u8> {
        let mut records = Vec::new();
        let first = usize::try_from(after.saturating_add(1)).unwrap_or(0);
        for account in self.accounts.iter().skip(first).take(limit) {
            append_record(&mut records, event::ACCOUNT, |to| append_account(to, account));
        }
        records
    }

    /// The POSITION records of an account, ascending by instrument.
    pub fn positions(&self, account: u32) -> Vec<u8> {
        let mut records = Vec::new();
        if let Some(account) = self.accounts.get(account as usize) {
            for position in &account.positions {
                append_record(&mut records, event::POSITION, |to| {
                    append_position(to, account.number, position);
                });
            }
        }
        records
    }

    /// All INSTRUMENT records, ascending by number.
    pub fn instruments(&self) -> Vec<u8> {
        let mut records = Vec::new();
        for instrument in &self.instruments {
            append_record(&mut records, event::INSTRUMENT, |to| append_instrument(to, instrument));
        }
        records
    }

    /// At most `limit` CREDENTIAL records with numbers above `after`.
    pub fn credentials(&self, after: u32, limit: usize) -> Vec<u8> {
        let mut records = Vec::new();
        for credential in self.credentials.after(after).take(limit) {
            append_record(&mut records, event::CREDENTIAL, |to| append_credential(to, credential));
        }
        records
    }

    /// LEVEL records: at most `levels` bids, best first, then as many asks, best first.
    pub fn depth(&self, instrument: u32, levels: usize) -> Vec<u8> {
        let mut records = Vec::new();
        if self.knows_instrument(instrument) {
            let book = &self.instrument(instrument).book;
            for (ladder, side) in book.iter().zip([terms::BUY, terms::SELL]) {
                for level in ladder.iter().take(levels) {
                    append_record(&mut records, event::LEVEL, |to| append_level(to, side, level));
                }
            }
        }
        records
    }

    /// How much the engine holds.
    pub fn statistics(&self) -> Statistics {
        Statistics {
            orders: self.orders.live_count() as u64,
            keys: self.keys.len() as u64,
            requests: self.outcomes.len() as u64,
            accounts: self.accounts.len() as u64,
            trades: self.next_trade - 1,
            events: self.out.next_event - 1,
            session: self.session_number,
            market_session: self.market_session,
        }
    }
}
