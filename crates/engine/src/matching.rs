//! Matching: an order enters, trades by price and time, then rests, waits or ends; stops follow.

use crate::codes::{close_reason, order_event, status, terms, VALUE_PER_CASH};
use crate::engine::Engine;
use crate::ladder::side_index;
use crate::money::{cash_up, paid, received, value_down, value_of};
use crate::order::{Order, Place};
use crate::output::{Fill, Trade};

/// The lowest and highest price of an order's trades; none where low is above high.
#[derive(Clone, Copy)]
struct Range {
    low: i64,
    high: i64,
}

impl Engine {
    /// Let an order in, then every stop that its trades and theirs set off, each to its end.
    pub(crate) fn enter(&mut self, slot: u32) {
        let Order { side, stop, instrument, .. } = self.orders[slot];
        if self.orders[slot].is_stop() && !self.orders[slot].is_triggered() {
            let last = self.instrument(instrument).last_price;
            let reached = if side == terms::BUY { last >= stop } else { last <= stop };
            if last == 0 || !reached {
                self.put_in(slot, Place::Stops);
                return;
            }
            self.trigger(slot);
        }
        self.trade_and_rest(slot);
        while let Some(next) = self.triggered.pop_front() {
            self.trigger(next);
            self.trade_and_rest(next);
        }
        assert!(self.instrument(instrument).is_uncrossed(), "the book is crossed");
    }

    fn trigger(&mut self, slot: u32) {
        self.orders[slot].flags |= terms::TRIGGERED;
        self.report(slot, order_event::RESTATED, Fill::default());
    }

    fn trade_and_rest(&mut self, slot: u32) {
        let Order { kind, time_in_force, instrument, .. } = self.orders[slot];
        if time_in_force == terms::FOK && !self.can_fill(slot) {
            self.cancel(slot, close_reason::UNFILLED);
            return;
        }
        let mut range = Range { low: i64::MAX, high: 0 };
        if !self.sweep_book(slot, &mut range) {
            let may_rest = time_in_force == terms::DAY || time_in_force == terms::GTC;
            if may_rest && (kind == terms::LIMIT || kind == terms::STOP_LIMIT) {
                self.put_in(slot, Place::Book);
            } else {
                self.cancel(slot, close_reason::UNFILLED);
            }
        }
        if range.low <= range.high {
            self.collect_stops(instrument, range);
        }
    }

    /// Stops whose price was reached leave their place for the list of those to be worked.
    fn collect_stops(&mut self, instrument: u32, range: Range) {
        for (side, reached) in [(0, range.high), (1, range.low)] {
            let at = instrument as usize - 1;
            while let Some(slot) = self.instruments[at].stops[side].head_within(reached) {
                self.take_out(slot);
                self.triggered.push_back(slot);
            }
        }
    }

    /// Whether the whole rest of the order would be filled within its protection price.
    fn can_fill(&self, slot: u32) -> bool {
        let order = &self.orders[slot];
        let opposite = &self.instrument(order.instrument).book[1 - side_index(order.side)];
        let wanted = i128::from(order.leaves());
        let mut found = 0;
        for level in opposite.within(order.protection) {
            for resting in level.orders.iter(&self.orders) {
                let resting = &self.orders[resting];
                if resting.account != order.account {
                    found += i128::from(resting.leaves());
                } else if order.self_trade != terms::CANCEL_OLDEST {
                    return found >= wanted;
                }
                if found >= wanted {
                    return true;
                }
            }
        }
        false
    }

    /// Trade within the protection price; true when the order has ended.
    fn sweep_book(&mut self, taker: u32, range: &mut Range) -> bool {
        let Order { account, instrument, side, protection, .. } = self.orders[taker];
        let opposite = 1 - side_index(side);
        while let Some(maker) =
            self.instruments[instrument as usize - 1].book[opposite].head_within(protection)
        {
            if self.orders[maker].account == account {
                if self.prevent_self_trade(taker, maker) {
                    return true;
                }
                continue;
            }
            let quantity = self.quantity_between(taker, maker);
            if quantity == 0 {
                return false;
            }
            let price = self.orders[maker].limit;
            range.low = range.low.min(price);
            range.high = range.high.max(price);
            if self.trade(taker, maker, quantity) {
                return true;
            }
        }
        false
    }

    fn quantity_between(&self, taker: u32, maker: u32) -> i64 {
        let (incoming, resting) = (&self.orders[taker], &self.orders[maker]);
        let wanted = if incoming.is_notional() {
            self.affordable(incoming, resting.limit)
        } else {
            incoming.leaves()
        };
        wanted.min(resting.leaves())
    }

    /// Whole lots that the rest of an order's notional reaches at this price.
    fn affordable(&self, order: &Order, price: i64) -> i64 {
        let rest = order.notional as u128 * VALUE_PER_CASH - order.value;
        let lot = self.instrument(order.instrument).lot as u128;
        let lots = rest / price as u128 / lot;
        (lots * lot).min(i64::MAX as u128) as i64
    }

    /// Two orders of one account meet; true when the incoming one has ended.
    fn prevent_self_trade(&mut self, taker: u32, maker: u32) -> bool {
        let incoming = self.orders[taker];
        match incoming.self_trade {
            terms::CANCEL_OLDEST => {
                self.cancel(maker, close_reason::SELF_TRADE);
                false
            }
            terms::CANCEL_BOTH => {
                self.cancel(maker, close_reason::SELF_TRADE);
                self.cancel(taker, close_reason::SELF_TRADE);
                true
            }
            terms::DECREMENT if !incoming.is_notional() => {
                let quantity = incoming.leaves().min(self.orders[maker].leaves());
                self.decrement(maker, quantity);
                self.decrement(taker, quantity)
            }
            _ => {
                self.cancel(taker, close_reason::SELF_TRADE);
                true
            }
        }
    }

    /// Lower an order's quantity, or end it where nothing would be left; true when it has ended.
    fn decrement(&mut self, slot: u32, quantity: i64) -> bool {
        if self.orders[slot].leaves() == quantity {
            self.cancel(slot, close_reason::SELF_TRADE);
            return true;
        }
        self.reduce_level(slot, quantity);
        self.orders[slot].quantity -= quantity;
        self.renew_hold(slot);
        self.report(slot, order_event::RESTATED, Fill::default());
        false
    }

    fn reduce_level(&mut self, slot: u32, quantity: i64) {
        let Order { place, side, level, instrument, .. } = self.orders[slot];
        if place == Place::Book {
            self.instrument_mut(instrument).book[side_index(side)].reduce(level, quantity);
        }
    }

    /// One trade at the resting price; true when the incoming order has ended.
    fn trade(&mut self, taker: u32, maker: u32, quantity: i64) -> bool {
        let (incoming, resting) = (self.orders[taker], self.orders[maker]);
        let price = resting.limit;
        let within = if incoming.is_buy() {
            price <= incoming.protection && price >= resting.protection
        } else {
            price >= incoming.protection && price <= resting.protection
        };
        assert!(within, "a fill beyond a protection price");
        assert!(0 < quantity && quantity <= resting.leaves(), "a fill larger than what rests");
        let fill = Fill { price, quantity, trade_id: self.next_trade };
        self.next_trade += 1;
        let (buy, sell) =
            if incoming.is_buy() { (&incoming, &resting) } else { (&resting, &incoming) };
        self.out.trade(&Trade {
            instrument: incoming.instrument,
            aggressor: incoming.side,
            fill,
            buy: (buy.id, buy.account),
            sell: (sell.id, sell.account),
        });
        let now_ns = self.now();
        let instrument = self.instrument_mut(incoming.instrument);
        instrument.last_price = price;
        instrument.last_ns = now_ns;
        self.reduce_level(maker, quantity);
        let maker_cash = self.settle(maker, price, quantity, resting.maker_ppm);
        let taker_cash = self.settle(taker, price, quantity, incoming.taker_ppm);
        self.accounts[0].cash -= (maker_cash + taker_cash) as i64;
        self.report_fill(maker, fill);
        self.report_fill(taker, fill)
    }

    /// Move one side's money and shares; returns the change of its cash.
    fn settle(&mut self, slot: u32, price: i64, quantity: i64, ppm: u32) -> i128 {
        let order = &mut self.orders[slot];
        let (value_before, fees_before) = (order.value, order.fees);
        let value = value_of(price, quantity);
        order.filled += quantity;
        order.value += value;
        order.fees += value * u128::from(ppm);
        order.fee = cash_up(order.fees).min(i64::MAX as u128) as i64;
        let Order { instrument, account, value: value_after, fees: fees_after, .. } = *order;
        let is_buy = order.is_buy();
        self.renew_hold(slot);
        let account = &mut self.accounts[account as usize];
        let change = if is_buy {
            account.add_shares(instrument, quantity, value_down(value));
            paid(value_before, fees_before) - paid(value_after, fees_after)
        } else {
            account.take_shares(instrument, quantity);
            received(value_after, fees_after) - received(value_before, fees_before)
        };
        account.cash += change as i64;
        assert!(account.available() >= 0, "account {} lacks cash it held", account.number);
        change
    }

    /// Report one side of a fill; true when that filled the order.
    fn report_fill(&mut self, slot: u32, fill: Fill) -> bool {
        let order = &self.orders[slot];
        let is_filled = if order.is_notional() {
            self.affordable(order, fill.price) == 0
        } else {
            order.leaves() == 0
        };
        if is_filled {
            self.finish(slot, status::FILLED, close_reason::NONE, fill);
        } else {
            self.orders[slot].status = status::PARTIALLY_FILLED;
            self.report(slot, order_event::PARTIAL_FILL, fill);
        }
        is_filled
    }
}
