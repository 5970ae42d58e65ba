//! The canonical snapshot: equal states give equal bytes, in both engines (docs/rules.md, "Snapshot").

use crate::codes::RULES_VERSION;
use crate::engine::Engine;
use crate::output::{
    append_account, append_credential, append_instrument, append_order, append_position,
};
use crate::sha256::sha256;

/// The first bytes of a snapshot.
pub(crate) const MAGIC: &[u8; 8] = b"MDSNAP01";

fn words(target: &mut Vec<u8>, values: &[u64]) {
    for value in values {
        target.extend_from_slice(&value.to_le_bytes());
    }
}

impl Engine {
    /// The whole state as bytes.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.append_counters(&mut bytes);
        words(&mut bytes, &[self.instruments.len() as u64]);
        for instrument in &self.instruments {
            append_instrument(&mut bytes, instrument);
        }
        words(&mut bytes, &[self.accounts.len() as u64]);
        for account in &self.accounts {
            append_account(&mut bytes, account);
        }
        let positions: usize = self.accounts.iter().map(|account| account.positions.len()).sum();
        words(&mut bytes, &[positions as u64]);
        for account in &self.accounts {
            for position in &account.positions {
                append_position(&mut bytes, account.number, position);
            }
        }
        words(&mut bytes, &[self.credentials.len() as u64]);
        for credential in self.credentials.after(0) {
            append_credential(&mut bytes, credential);
        }
        self.append_orders(&mut bytes);
        self.append_memory(&mut bytes);
        bytes
    }

    /// The SHA-256 of the snapshot.
    pub fn state_hash(&self) -> [u8; 32] {
        sha256(&self.snapshot())
    }

    fn append_counters(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&RULES_VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.session_number.to_le_bytes());
        let counters = [
            self.out.sequence,
            self.out.now_ns as u64,
            self.next_order,
            self.next_trade,
            self.out.next_event,
            self.next_priority,
            self.next_credential,
        ];
        words(bytes, &counters);
        bytes.extend_from_slice(&self.maker_ppm.to_le_bytes());
        bytes.extend_from_slice(&self.taker_ppm.to_le_bytes());
        bytes.extend_from_slice(&[self.market_session, 0, 0, 0, 0, 0, 0, 0]);
        words(bytes, &[self.keys_max, self.open_orders_max]);
        bytes.extend_from_slice(&self.cash_total.to_le_bytes());
    }

    fn append_orders(&self, bytes: &mut Vec<u8>) {
        let slots = self.orders.by_id_ascending();
        words(bytes, &[slots.len() as u64]);
        for slot in slots {
            append_order(bytes, &self.orders, slot);
            let order = &self.orders[slot];
            bytes.extend_from_slice(&order.protection.to_le_bytes());
            bytes.extend_from_slice(&order.maker_ppm.to_le_bytes());
            bytes.extend_from_slice(&order.taker_ppm.to_le_bytes());
            bytes.extend_from_slice(&order.priority.to_le_bytes());
            bytes.extend_from_slice(&order.fees.to_le_bytes());
            bytes.extend_from_slice(&[order.place as u8, 0, 0, 0, 0, 0, 0, 0]);
        }
    }

    fn append_memory(&self, bytes: &mut Vec<u8>) {
        words(bytes, &[self.keys.len() as u64]);
        for key in self.keys.iter() {
            words(bytes, &[key.key[0], key.key[1], key.order_id, u64::from(key.session)]);
        }
        words(bytes, &[self.outcomes.len() as u64]);
        for outcome in self.outcomes.iter() {
            words(bytes, &outcome.request);
            bytes.extend_from_slice(&outcome.reason.to_le_bytes());
            bytes.extend_from_slice(&[outcome.kind, 0]);
            bytes.extend_from_slice(&outcome.session.to_le_bytes());
            words(bytes, &[outcome.number, outcome.a as u64, outcome.b as u64]);
        }
    }
}
