//! Every invariant in full, for tests and for a restored state (docs/rules.md, "Invariants").

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::Engine;
use crate::ladder::Ladder;
use crate::life::hold_of;
use crate::order::Place;

impl Engine {
    /// Check the whole state.
    ///
    /// # Errors
    /// Which invariant does not hold.
    pub fn check(&self) -> Result<(), String> {
        self.check_books()?;
        self.check_places()?;
        self.check_holds()?;
        self.check_totals()?;
        self.check_numbers()
    }

    fn check_books(&self) -> Result<(), String> {
        for instrument in &self.instruments {
            let number = instrument.number;
            for ladder in instrument.book.iter().chain(&instrument.stops) {
                let checked = ladder.check(&self.orders);
                checked.map_err(|problem| format!("instrument {number}: {problem}"))?;
            }
            if !instrument.is_uncrossed() {
                return Err(format!("instrument {number}: the book is crossed"));
            }
            let queue: Vec<u32> = instrument.queue.iter(&self.orders).collect();
            let in_order =
                |pair: &[u32]| self.orders[pair[0]].priority < self.orders[pair[1]].priority;
            if !queue.windows(2).all(in_order) {
                return Err(format!("instrument {number}: the queue is not in time order"));
            }
        }
        Ok(())
    }

    fn check_places(&self) -> Result<(), String> {
        let mut found = BTreeMap::new();
        for instrument in &self.instruments {
            let places = [(&instrument.book, Place::Book), (&instrument.stops, Place::Stops)];
            for (ladders, place) in places {
                for level in ladders.iter().flat_map(Ladder::iter) {
                    for slot in level.orders.iter(&self.orders) {
                        found.insert(slot, (instrument.number, place));
                    }
                }
            }
            for slot in instrument.queue.iter(&self.orders) {
                found.insert(slot, (instrument.number, Place::Queue));
            }
        }
        if found.len() != self.orders.live_count() {
            return Err("the places hold other orders than the live ones".to_owned());
        }
        for slot in self.orders.by_id_ascending() {
            let order = &self.orders[slot];
            if found.get(&slot) != Some(&(order.instrument, order.place)) {
                return Err(format!("order {} is not where it says", order.id));
            }
            if order.hold < 0 || i128::from(order.hold) != hold_of(order) {
                return Err(format!("order {}: its hold differs from the formula", order.id));
            }
        }
        Ok(())
    }

    fn check_holds(&self) -> Result<(), String> {
        for account in &self.accounts {
            let number = account.number;
            let (mut cash, mut shares, mut last) = (0_i128, BTreeMap::new(), 0);
            let mut count = 0;
            for slot in account.orders(&self.orders) {
                let order = &self.orders[slot];
                if order.account != number || order.id <= last {
                    return Err(format!("account {number}: its orders are out of order"));
                }
                (last, count) = (order.id, count + 1);
                if order.is_buy() {
                    cash += i128::from(order.hold);
                } else {
                    *shares.entry(order.instrument).or_insert(0_i128) += i128::from(order.hold);
                }
            }
            if cash != i128::from(account.held) || count != account.order_count {
                return Err(format!("account {number}: held cash differs from its orders"));
            }
            for position in &account.positions {
                let held = shares.remove(&position.instrument).unwrap_or(0);
                if held != i128::from(position.held) {
                    return Err(format!("account {number}: held shares differ from its orders"));
                }
                if position.quantity < 1 || position.held > position.quantity {
                    return Err(format!("account {number}: an impossible position"));
                }
            }
            if shares.values().any(|held| *held != 0) {
                return Err(format!("account {number}: orders hold shares it has not"));
            }
            if number != 0 && account.available() < 0 {
                return Err(format!("account {number}: less cash than it holds"));
            }
        }
        Ok(())
    }

    fn check_totals(&self) -> Result<(), String> {
        let cash: i128 = self.accounts.iter().map(|account| i128::from(account.cash)).sum();
        if cash != self.cash_total {
            return Err("the sum of cash differs from what was deposited".to_owned());
        }
        let mut shares = BTreeMap::new();
        for position in self.accounts.iter().flat_map(|account| &account.positions) {
            *shares.entry(position.instrument).or_insert(0_i128) += i128::from(position.quantity);
        }
        for instrument in &self.instruments {
            let total = shares.remove(&instrument.number).unwrap_or(0);
            if total != i128::from(instrument.shares_total) {
                return Err(format!(
                    "instrument {}: the sum of shares differs from what was deposited",
                    instrument.number
                ));
            }
        }
        Ok(())
    }

    fn check_numbers(&self) -> Result<(), String> {
        let keyed: BTreeSet<u64> = self.keys.iter().map(|key| key.order_id).collect();
        for slot in self.orders.by_id_ascending() {
            let order = &self.orders[slot];
            if !keyed.contains(&order.id) {
                return Err(format!("order {}: its key is not remembered", order.id));
            }
            if order.id >= self.next_order || order.priority >= self.next_priority {
                return Err(format!("order {}: its numbers are still to be given", order.id));
            }
        }
        if self.credentials.after(0).any(|one| u64::from(one.number) >= self.next_credential) {
            return Err("a credential's number is still to be given".to_owned());
        }
        Ok(())
    }
}
