//! Replacing an order: the old one ends, a new one carries its fills, and keeps its place if it may.

use crate::codes::{close_reason, order_event, status, terms, Reason};
use crate::command::Replacement;
use crate::engine::{Done, Engine};
use crate::entry::{check_price, check_quantity, is_client_id};
use crate::history::UsedKey;
use crate::order::{Order, Place};
use crate::output::{Fill, Refusal};

impl Engine {
    pub(crate) fn replace_order(
        &mut self,
        account: u32,
        body: &[u8],
        client_id: &[u8],
    ) -> Result<Done, Refusal> {
        let asked = Replacement::parse(body);
        self.trading_account(account)?;
        let old_slot = self.order_of(account, asked.order_id)?;
        let old = self.orders[old_slot];
        self.check_replacement(&old, &asked, client_id)?;
        let mut new = self.successor(&old, &asked)?;
        if self.keys.find(asked.key).is_some() {
            return Err(Reason::DuplicateClientOrderId.into());
        }
        if new.self_trade == terms::REFUSE && self.would_wash(&new) {
            return Err(Reason::WashTrade.into());
        }
        let hold = self.afford(&new, old.hold)?;

        let is_open = self.is_open(new.instrument);
        let same_prices = new.limit == old.limit && new.stop == old.stop;
        let keeps_place = same_prices && new.quantity <= old.quantity;
        let waits = !is_open && (!keeps_place || old.place == Place::Queue);
        new.status = match (waits, new.filled > 0) {
            (true, _) => status::ACCEPTED,
            (false, true) => status::PARTIALLY_FILLED,
            (false, false) => status::NEW,
        };
        self.keys.push(UsedKey { key: asked.key, order_id: new.id, session: self.session_number });
        self.set_hold(old_slot, 0);
        let slot = self.admit(&new, client_id, hold);
        if keeps_place {
            self.take_place(old_slot, slot);
        }
        self.orders[old_slot].replaced_by = new.id;
        self.finish(old_slot, status::REPLACED, close_reason::REPLACED, Fill::default());
        let what = if waits { order_event::ACCEPTED } else { order_event::NEW };
        self.report(slot, what, Fill::default());
        if !keeps_place {
            if is_open {
                self.enter(slot);
            } else {
                self.put_in(slot, Place::Queue);
            }
        }
        Ok(Done { number: new.id, order: Some(slot), ..Done::default() })
    }

    fn check_replacement(
        &self,
        old: &Order,
        asked: &Replacement,
        client_id: &[u8],
    ) -> Result<(), Refusal> {
        if old.notional != 0 || (asked.stop != 0 && old.is_triggered()) {
            return Err(Reason::NotReplaceable.into());
        }
        let fits = (asked.limit == 0 || old.has_limit())
            && (asked.stop == 0 || old.is_stop())
            && asked.time_in_force <= terms::GTC
            && is_client_id(client_id);
        if !fits {
            return Err(Reason::BadFields.into());
        }
        let instrument = self.instrument(old.instrument);
        if asked.quantity != 0 {
            check_quantity(instrument, asked.quantity)?;
        }
        check_price(instrument, asked.limit)?;
        check_price(instrument, asked.stop)
    }

    /// The order that would take the old one's place.
    fn successor(&self, old: &Order, asked: &Replacement) -> Result<Order, Refusal> {
        let given_or = |given: i64, old: i64| if given == 0 { old } else { given };
        let time_in_force =
            if asked.time_in_force == 0 { old.time_in_force } else { asked.time_in_force };
        let new = Order {
            id: self.next_order,
            quantity: given_or(asked.quantity, old.quantity),
            limit: given_or(asked.limit, old.limit),
            stop: given_or(asked.stop, old.stop),
            time_in_force,
            created_ns: self.now(),
            updated_ns: self.now(),
            replaces: old.id,
            hold: 0,
            priority: 0,
            place: Place::Nowhere,
            ..*old
        };
        let changed = new.quantity != old.quantity
            || new.limit != old.limit
            || new.stop != old.stop
            || new.time_in_force != old.time_in_force;
        if !changed {
            return Err(Reason::NothingChanged.into());
        }
        if new.quantity <= old.filled {
            return Err(Reason::QuantityBelowFilled.with(old.filled, 0));
        }
        let protection = match old.kind {
            terms::LIMIT | terms::STOP_LIMIT => new.limit,
            terms::STOP if asked.stop != 0 => {
                self.instrument(old.instrument).collar(old.side, new.stop)
            }
            _ => old.protection,
        };
        Ok(Order { protection, ..new })
    }
}
