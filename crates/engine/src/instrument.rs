//! What is traded: its rules, its book, its stops, and the queue of orders that wait for the opening.

use crate::codes::{session, terms, FINE_TICK_MAX, PRICE_MAX, PRICE_UNIT};
use crate::ladder::{Fifo, Ladder};

/// One instrument.
pub(crate) struct Instrument {
    pub(crate) number: u32,
    pub(crate) session: u8,
    pub(crate) symbol: Vec<u8>,
    pub(crate) exchange: Vec<u8>,
    pub(crate) name: Vec<u8>,
    pub(crate) tick: i64,
    pub(crate) lot: i64,
    pub(crate) reference_price: i64,
    pub(crate) last_price: i64,
    pub(crate) last_ns: i64,
    pub(crate) shares_total: i64,
    pub(crate) collar_bps: u32,
    pub(crate) book: [Ladder; 2],
    pub(crate) stops: [Ladder; 2],
    pub(crate) queue: Fifo,
}

impl Instrument {
    pub(crate) fn new(number: u32, symbol: &[u8]) -> Instrument {
        Instrument {
            number,
            session: session::OPEN,
            symbol: symbol.to_vec(),
            exchange: Vec::new(),
            name: Vec::new(),
            tick: 0,
            lot: 0,
            reference_price: 0,
            last_price: 0,
            last_ns: 0,
            shares_total: 0,
            collar_bps: 0,
            book: Ladder::book(),
            stops: Ladder::stops(),
            queue: Fifo::EMPTY,
        }
    }

    /// Whether prices of this size must be multiples of the tick, and this one is not.
    pub(crate) fn misses_tick(&self, price: i64) -> bool {
        let fine = price < PRICE_UNIT && self.tick <= FINE_TICK_MAX;
        !fine && price % self.tick != 0
    }

    /// The worst price at which an order of `side` may trade, seen from `base`.
    pub(crate) fn collar(&self, side: u8, base: i64) -> i64 {
        let width = i128::from(base) * i128::from(self.collar_bps) / 10_000;
        if side == terms::BUY {
            (i128::from(base) + width).min(i128::from(PRICE_MAX)) as i64
        } else {
            (i128::from(base) - width).max(1) as i64
        }
    }

    /// The last price, or the reference price where nothing traded yet (0: neither).
    pub(crate) fn price(&self) -> i64 {
        if self.last_price == 0 {
            self.reference_price
        } else {
            self.last_price
        }
    }

    /// Best bid and ask do not meet.
    pub(crate) fn is_uncrossed(&self) -> bool {
        match (self.book[0].best_price(), self.book[1].best_price()) {
            (Some(bid), Some(ask)) => bid < ask,
            _ => true,
        }
    }
}
