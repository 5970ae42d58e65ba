//! What happens to an order on its way: its place, its hold, its events, its end.

use crate::codes::{close_reason, order_event, status, VALUE_PER_CASH};
use crate::engine::Engine;
use crate::ladder::side_index;
use crate::money::{buy_hold, value_of};
use crate::order::{Order, Place};
use crate::output::Fill;

/// Cash (buy) or shares (sell) that the order must hold, by the rules' formula.
#[inline]
pub(crate) fn hold_of(order: &Order) -> i128 {
    if order.is_buy() {
        let ppm = order.maker_ppm.max(order.taker_ppm);
        return buy_hold(order.value, order.fees, exposure_of(order), ppm);
    }
    if order.is_notional() {
        let worth = order.notional as u128 * VALUE_PER_CASH;
        return worth.div_ceil(order.protection as u128) as i128 - i128::from(order.filled);
    }
    i128::from(order.leaves())
}

/// The value that the rest of the order may still reach at its worst price.
#[inline]
pub(crate) fn exposure_of(order: &Order) -> u128 {
    if order.is_notional() {
        order.notional as u128 * VALUE_PER_CASH - order.value
    } else {
        value_of(order.protection, order.leaves())
    }
}

impl Engine {
    /// Change the order's hold, and with it the account's.
    #[inline]
    pub(crate) fn set_hold(&mut self, slot: u32, hold: i64) {
        assert!(hold >= 0, "an order holds less than nothing");
        let order = &mut self.orders[slot];
        let change = hold - order.hold;
        order.hold = hold;
        let (is_buy, instrument) = (order.is_buy(), order.instrument);
        let account = &mut self.accounts[order.account as usize];
        if is_buy {
            account.held += change;
        } else {
            account.hold_shares(instrument, change);
        }
    }

    /// Bring the hold back to the formula after the order changed.
    #[inline]
    pub(crate) fn renew_hold(&mut self, slot: u32) {
        let hold = hold_of(&self.orders[slot]);
        self.set_hold(slot, hold as i64);
    }

    /// Write an ORDER event of the order as it stands.
    #[inline]
    pub(crate) fn report(&mut self, slot: u32, what: u8, fill: Fill) {
        let order = &mut self.orders[slot];
        order.updated_ns = self.out.now_ns;
        let shares = self.accounts[order.account as usize].shares(order.instrument);
        self.out.order(&self.orders, slot, what, fill, shares);
    }

    fn next_priority(&mut self) -> u64 {
        self.next_priority += 1;
        self.next_priority - 1
    }

    /// Put the order at the tail of a place, behind everything that is there.
    #[inline]
    pub(crate) fn put_in(&mut self, slot: u32, place: Place) {
        let priority = self.next_priority();
        self.put_back(slot, place, priority);
    }

    /// Put the order in a place under a priority that is higher than those before it.
    pub(crate) fn put_back(&mut self, slot: u32, place: Place, priority: u64) {
        let order = &mut self.orders[slot];
        order.place = place;
        order.priority = priority;
        let (side, limit, stop) = (side_index(order.side), order.limit, order.stop);
        let instrument = &mut self.instruments[order.instrument as usize - 1];
        match place {
            Place::Book => instrument.book[side].push(&mut self.orders, slot, limit),
            Place::Stops => instrument.stops[side].push(&mut self.orders, slot, stop),
            Place::Queue => instrument.queue.push(&mut self.orders, slot),
            Place::Nowhere => {}
        }
    }

    /// Take the order out of its place.
    #[inline]
    pub(crate) fn take_out(&mut self, slot: u32) {
        let order = &mut self.orders[slot];
        let (place, side) = (order.place, side_index(order.side));
        order.place = Place::Nowhere;
        let instrument = &mut self.instruments[order.instrument as usize - 1];
        match place {
            Place::Book => instrument.book[side].remove(&mut self.orders, slot),
            Place::Stops => instrument.stops[side].remove(&mut self.orders, slot),
            Place::Queue => instrument.queue.remove(&mut self.orders, slot),
            Place::Nowhere => {}
        }
    }

    /// Put `new` exactly where `old` stands, with its priority.
    pub(crate) fn take_place(&mut self, old: u32, new: u32) {
        let Order { place, priority, side, instrument, .. } = self.orders[old];
        let side = side_index(side);
        let instrument = &mut self.instruments[instrument as usize - 1];
        match place {
            Place::Book => instrument.book[side].exchange(&mut self.orders, old, new),
            Place::Stops => instrument.stops[side].exchange(&mut self.orders, old, new),
            Place::Queue => instrument.queue.exchange(&mut self.orders, old, new),
            Place::Nowhere => {}
        }
        self.orders[old].place = Place::Nowhere;
        self.orders[new].place = place;
        self.orders[new].priority = priority;
    }

    /// End the order: out of its place, its hold released, its last event written.
    pub(crate) fn finish(&mut self, slot: u32, final_status: u8, reason: u8, fill: Fill) {
        self.take_out(slot);
        self.set_hold(slot, 0);
        let order = &mut self.orders[slot];
        order.status = final_status;
        order.close_reason = reason;
        order.closed_ns = self.out.now_ns;
        let account = order.account as usize;
        self.accounts[account].unlink(&mut self.orders, slot);
        self.orders.close(slot);
        let what = match final_status {
            status::FILLED => order_event::FILL,
            status::CANCELED => order_event::CANCELED,
            status::EXPIRED => order_event::EXPIRED,
            _ => order_event::REPLACED,
        };
        self.report(slot, what, fill);
    }

    pub(crate) fn cancel(&mut self, slot: u32, reason: u8) {
        self.finish(slot, status::CANCELED, reason, Fill::default());
    }

    /// Cancel all live orders of an account, oldest first; returns how many.
    pub(crate) fn cancel_orders_of(&mut self, account: u32, reason: u8) -> i64 {
        let slots: Vec<u32> = self.accounts[account as usize].orders(&self.orders).collect();
        for slot in &slots {
            self.cancel(*slot, reason);
        }
        slots.len() as i64
    }

    /// Day orders end with the day, oldest first.
    pub(crate) fn expire_day_orders(&mut self) {
        for slot in self.orders.by_id_ascending() {
            if self.orders[slot].time_in_force == crate::codes::terms::DAY {
                self.finish(slot, status::EXPIRED, close_reason::END_OF_DAY, Fill::default());
            }
        }
    }
}
