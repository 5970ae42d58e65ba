//! New orders and cancellations: every check in the order of the rules, then the acceptance.

use crate::bytes::u64_at;
use crate::codes::{
    account_state, close_reason, order_event, status, terms, Reason, CASH_MAX, PRICE_MAX,
    QUANTITY_MAX, VALUE_PER_CASH,
};
use crate::command::NewOrder;
use crate::engine::{Done, Engine};
use crate::history::UsedKey;
use crate::instrument::Instrument;
use crate::ladder::side_index;
use crate::life::{exposure_of, hold_of};
use crate::money::value_up;
use crate::order::{Order, Place, CLIENT_ID_BYTES};
use crate::output::{Fill, Refusal};

impl Engine {
    /// An account that may send orders.
    pub(crate) fn trading_account(&self, account: u32) -> Result<(), Refusal> {
        if self.known_account(account)?.state == account_state::DISABLED {
            return Err(Reason::AccountDisabled.into());
        }
        Ok(())
    }

    pub(crate) fn new_order(
        &mut self,
        account: u32,
        body: &[u8],
        client_id: &[u8],
    ) -> Result<Done, Refusal> {
        let asked = NewOrder::parse(body);
        self.trading_account(account)?;
        if !self.knows_instrument(asked.instrument) {
            return Err(Reason::UnknownInstrument.into());
        }
        check_fields(&asked, client_id)?;
        let instrument = self.instrument(asked.instrument);
        check_amounts(instrument, &asked)?;
        if self.keys.find(asked.key).is_some() {
            return Err(Reason::DuplicateClientOrderId.into());
        }
        if u64::from(self.accounts[account as usize].order_count) >= self.open_orders_max {
            return Err(Reason::TooManyOrders.with(self.open_orders_max as i64, 0));
        }
        let is_open = self.is_open(asked.instrument);
        if !is_open && (asked.time_in_force == terms::IOC || asked.time_in_force == terms::FOK) {
            return Err(Reason::SessionClosed.into());
        }
        let order = self.draft(account, &asked, is_open)?;
        if order.self_trade == terms::REFUSE && self.would_wash(&order) {
            return Err(Reason::WashTrade.into());
        }
        let hold = self.afford(&order, 0)?;
        self.keys.push(UsedKey {
            key: asked.key,
            order_id: order.id,
            session: self.session_number,
        });
        let slot = self.admit(&order, client_id, hold);
        if is_open {
            self.report(slot, order_event::NEW, Fill::default());
            self.enter(slot);
        } else {
            self.put_in(slot, Place::Queue);
            self.report(slot, order_event::ACCEPTED, Fill::default());
        }
        Ok(Done { number: order.id, order: Some(slot), ..Done::default() })
    }

    /// The order as it would be accepted.
    fn draft(&self, account: u32, asked: &NewOrder, is_open: bool) -> Result<Order, Refusal> {
        let instrument = self.instrument(asked.instrument);
        let protection = match asked.kind {
            terms::LIMIT | terms::STOP_LIMIT => asked.limit,
            terms::STOP => instrument.collar(asked.side, asked.stop),
            _ => instrument.collar(asked.side, market_base(instrument, asked.side)?),
        };
        let mut quantity = asked.quantity;
        if asked.kind == terms::LIMIT && asked.notional != 0 {
            let lot = instrument.lot as u128;
            let lots = asked.notional as u128 * VALUE_PER_CASH / protection as u128 / lot;
            match i64::try_from(lots * lot) {
                Ok(0) => return Err(Reason::BadNotional.into()),
                Ok(reached) if reached <= QUANTITY_MAX => quantity = reached,
                _ => return Err(Reason::ValueTooLarge.into()),
            }
        }
        Ok(Order {
            id: self.next_order,
            account,
            instrument: asked.instrument,
            side: asked.side,
            kind: asked.kind,
            time_in_force: asked.time_in_force,
            status: if is_open { status::NEW } else { status::ACCEPTED },
            self_trade: asked.self_trade,
            flags: asked.flags,
            quantity,
            notional: asked.notional,
            limit: asked.limit,
            stop: asked.stop,
            created_ns: self.now(),
            updated_ns: self.now(),
            protection,
            maker_ppm: self.maker_ppm,
            taker_ppm: self.taker_ppm,
            ..Order::EMPTY
        })
    }

    /// Whether the order could meet a resting order of its own account.
    pub(crate) fn would_wash(&self, order: &Order) -> bool {
        let opposite = &self.instrument(order.instrument).book[1 - side_index(order.side)];
        opposite.within(order.protection).any(|level| {
            level.orders.iter(&self.orders).any(|slot| self.orders[slot].account == order.account)
        })
    }

    /// What the order must hold, where its account can afford it; `old_hold` is what it holds already.
    pub(crate) fn afford(&self, order: &Order, old_hold: i64) -> Result<i64, Refusal> {
        let account = &self.accounts[order.account as usize];
        let hold = hold_of(order);
        if order.is_buy() {
            if hold > i128::from(CASH_MAX) {
                return Err(Reason::ValueTooLarge.into());
            }
            let available = account.available() + old_hold;
            if i128::from(available) < hold {
                return Err(Reason::InsufficientCash.with(available, hold as i64));
            }
            return Ok(hold as i64);
        }
        if value_up(exposure_of(order)) > CASH_MAX as u128 {
            return Err(Reason::ValueTooLarge.into());
        }
        let Some(position) = account.position(order.instrument) else {
            return Err(Reason::ShortNotAllowed.into());
        };
        let held = position.held - old_hold;
        if i128::from(position.quantity - held) < hold {
            return Err(Reason::InsufficientShares.with(position.quantity, held));
        }
        Ok(hold as i64)
    }

    /// Accept the order: from here on it is live.
    pub(crate) fn admit(&mut self, order: &Order, client_id: &[u8], hold: i64) -> u32 {
        assert!(order.id == self.next_order, "order ids are given in sequence");
        self.next_order += 1;
        let slot = self.orders.insert(order, client_id);
        self.accounts[order.account as usize].link(&mut self.orders, slot);
        self.set_hold(slot, hold);
        slot
    }

    pub(crate) fn cancel_order(&mut self, account: u32, body: &[u8]) -> Result<Done, Refusal> {
        self.known_account(account)?;
        let order_id = u64_at(body, 0);
        let slot = self.order_of(account, order_id)?;
        self.cancel(slot, close_reason::REQUESTED);
        Ok(Done { number: order_id, order: Some(slot), ..Done::default() })
    }

    pub(crate) fn cancel_all(&mut self, account: u32) -> Result<Done, Refusal> {
        self.known_account(account)?;
        let count = self.cancel_orders_of(account, close_reason::REQUESTED);
        Ok(Done { a: count, ..Done::about(account) })
    }

    /// The slot of a live order of this account.
    pub(crate) fn order_of(&self, account: u32, order_id: u64) -> Result<u32, Refusal> {
        let found = self.orders.find(order_id);
        found
            .filter(|slot| self.orders[*slot].account == account)
            .ok_or(Reason::UnknownOrder.into())
    }
}

/// Whether a client order id has a length that the rules allow.
pub(crate) fn is_client_id(client_id: &[u8]) -> bool {
    (1..=CLIENT_ID_BYTES).contains(&client_id.len())
}

fn check_fields(asked: &NewOrder, client_id: &[u8]) -> Result<(), Refusal> {
    let in_range = (terms::BUY..=terms::SELL).contains(&asked.side)
        && (terms::MARKET..=terms::STOP_LIMIT).contains(&asked.kind)
        && (terms::DAY..=terms::FOK).contains(&asked.time_in_force)
        && asked.self_trade <= terms::REFUSE
        && asked.flags & !terms::EXTENDED_HOURS == 0
        && is_client_id(client_id);
    let has_limit = matches!(asked.kind, terms::LIMIT | terms::STOP_LIMIT);
    let has_stop = matches!(asked.kind, terms::STOP | terms::STOP_LIMIT);
    let at_once = matches!(asked.time_in_force, terms::IOC | terms::FOK);
    let by_notional = asked.notional != 0;
    let fits = (asked.limit != 0) == has_limit
        && (asked.stop != 0) == has_stop
        && (asked.quantity != 0) != by_notional
        && !(has_stop && at_once)
        && !(by_notional && (has_stop || asked.time_in_force == terms::FOK));
    if in_range && fits {
        Ok(())
    } else {
        Err(Reason::BadFields.into())
    }
}

fn check_amounts(instrument: &Instrument, asked: &NewOrder) -> Result<(), Refusal> {
    if asked.quantity != 0 {
        check_quantity(instrument, asked.quantity)?;
    } else if !(1..=CASH_MAX).contains(&asked.notional) {
        return Err(Reason::BadNotional.into());
    }
    check_price(instrument, asked.limit)?;
    check_price(instrument, asked.stop)
}

pub(crate) fn check_quantity(instrument: &Instrument, quantity: i64) -> Result<(), Refusal> {
    if !(1..=QUANTITY_MAX).contains(&quantity) {
        return Err(Reason::BadQuantity.into());
    }
    if quantity % instrument.lot != 0 {
        return Err(Reason::BadLot.with(instrument.lot, 0));
    }
    Ok(())
}

/// Check a price where one is given (0: none).
pub(crate) fn check_price(instrument: &Instrument, price: i64) -> Result<(), Refusal> {
    if price == 0 {
        return Ok(());
    }
    if !(1..=PRICE_MAX).contains(&price) {
        return Err(Reason::BadPrice.into());
    }
    if instrument.misses_tick(price) {
        return Err(Reason::BadTick.with(instrument.tick, 0));
    }
    Ok(())
}

/// The price from which a market order's collar is drawn.
fn market_base(instrument: &Instrument, side: u8) -> Result<i64, Refusal> {
    match instrument.price() {
        0 => instrument.book[1 - side_index(side)]
            .best_price()
            .ok_or(Reason::NoReferencePrice.into()),
        price => Ok(price),
    }
}
