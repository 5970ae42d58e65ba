//! Rebuilding an engine from a snapshot. Damaged bytes are refused by name; nothing is guessed.
//!
//! Holds are not in the snapshot but follow from the orders, so they are computed and must add up to
//! what the accounts say: a full `check` ends every restoration.

use crate::account::{Account, Credential, Position};
use crate::bytes::{i64_at, key_at, padded, u16_at, u32_at, u64_at};
use crate::codes::RULES_VERSION;
use crate::engine::Engine;
use crate::history::{Outcome, UsedKey};
use crate::instrument::Instrument;
use crate::life::hold_of;
use crate::order::{Order, Place};
use crate::output::ORDER_BODY;
use crate::snapshot::MAGIC;

type Restored<T> = Result<T, &'static str>;

const COUNTERS: usize = 120;
const ORDER_TAIL: usize = 48;

/// A cursor over the snapshot's bytes.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Restored<&'a [u8]> {
        if length > self.rest.len() {
            return Err("the snapshot is cut");
        }
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(taken)
    }

    /// How many records of at least `size` bytes follow.
    fn count(&mut self, size: usize) -> Restored<usize> {
        let count = u64_at(self.take(8)?, 0);
        match usize::try_from(count) {
            Ok(count) if count <= self.rest.len() / size => Ok(count),
            _ => Err("the snapshot counts more records than it has"),
        }
    }

    /// A body of `size` bytes and the texts behind it, whose length `texts` reads from the body.
    fn record(
        &mut self,
        size: usize,
        texts: impl Fn(&[u8]) -> usize,
    ) -> Restored<(&'a [u8], &'a [u8])> {
        let body = self.take(size)?;
        let length = texts(body);
        let text = self.take(padded(size + length) - size)?;
        Ok((body, &text[..length]))
    }
}

fn u128_at(data: &[u8], at: usize) -> u128 {
    u128::from(u64_at(data, at + 8)) << 64 | u128::from(u64_at(data, at))
}

impl Engine {
    /// Rebuild the engine that gave this snapshot.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn restore(snapshot: &[u8]) -> Result<Engine, String> {
        let mut engine = Engine::new();
        engine.read(snapshot).map_err(String::from)?;
        engine.check()?;
        Ok(engine)
    }

    fn read(&mut self, snapshot: &[u8]) -> Restored<()> {
        let mut reader = Reader { rest: snapshot };
        self.read_counters(reader.take(COUNTERS)?)?;
        for number in 1..=reader.count(64)? as u32 {
            self.read_instrument(&mut reader, number)?;
        }
        for number in 0..reader.count(32)? as u32 {
            self.read_account(&mut reader, number)?;
        }
        for _ in 0..reader.count(32)? {
            self.read_position(&mut reader)?;
        }
        for _ in 0..reader.count(16)? {
            self.read_credential(&mut reader)?;
        }
        self.read_orders(&mut reader)?;
        for _ in 0..reader.count(32)? {
            let record = reader.take(32)?;
            let key = key_at(record, 0);
            if self.keys.find(key).is_some() {
                return Err("a key stands twice in the snapshot");
            }
            let (order_id, session) = (u64_at(record, 16), u32_at(record, 24));
            self.keys.push(UsedKey { key, order_id, session });
        }
        for _ in 0..reader.count(48)? {
            self.read_outcome(&mut reader)?;
        }
        if reader.rest.is_empty() {
            Ok(())
        } else {
            Err("bytes behind the snapshot")
        }
    }

    fn read_counters(&mut self, bytes: &[u8]) -> Restored<()> {
        if &bytes[..8] != MAGIC {
            return Err("not a snapshot");
        }
        if u32_at(bytes, 8) != RULES_VERSION {
            return Err("a snapshot of other rules");
        }
        self.session_number = u32_at(bytes, 12);
        self.out.sequence = u64_at(bytes, 16);
        self.out.now_ns = i64_at(bytes, 24);
        self.next_order = u64_at(bytes, 32);
        self.next_trade = u64_at(bytes, 40);
        self.out.next_event = u64_at(bytes, 48);
        self.next_priority = u64_at(bytes, 56);
        self.next_credential = u64_at(bytes, 64);
        self.maker_ppm = u32_at(bytes, 72);
        self.taker_ppm = u32_at(bytes, 76);
        self.market_session = bytes[80];
        self.keys_max = u64_at(bytes, 88);
        self.open_orders_max = u64_at(bytes, 96);
        self.cash_total = u128_at(bytes, 104) as i128;
        Ok(())
    }

    fn read_instrument(&mut self, reader: &mut Reader, number: u32) -> Restored<()> {
        let lengths = |body: &[u8]| [body[5] as usize, body[6] as usize, body[7] as usize];
        let (body, texts) = reader.record(64, |body| lengths(body).iter().sum())?;
        if u32_at(body, 0) != number {
            return Err("instruments are not numbered in sequence");
        }
        let (symbol, rest) = texts.split_at(lengths(body)[0]);
        let (exchange, name) = rest.split_at(lengths(body)[1]);
        let instrument = Instrument {
            session: body[4],
            exchange: exchange.to_vec(),
            name: name.to_vec(),
            tick: i64_at(body, 8),
            lot: i64_at(body, 16),
            reference_price: i64_at(body, 24),
            last_price: i64_at(body, 32),
            last_ns: i64_at(body, 40),
            shares_total: i64_at(body, 48),
            collar_bps: u32_at(body, 56),
            ..Instrument::new(number, symbol)
        };
        if instrument.tick < 1 || instrument.lot < 1 {
            return Err("an instrument without tick or lot");
        }
        self.instruments.push(instrument);
        self.symbols.insert(symbol.to_vec(), number);
        Ok(())
    }

    fn read_account(&mut self, reader: &mut Reader, number: u32) -> Restored<()> {
        let (body, name) = reader.record(32, |body| body[5] as usize)?;
        if u32_at(body, 0) != number {
            return Err("accounts are not numbered in sequence");
        }
        let mut account = Account::new(number, name, i64_at(body, 24));
        account.state = body[4];
        account.cash = i64_at(body, 8);
        account.held = i64_at(body, 16);
        if number == 0 {
            self.accounts.clear();
            self.account_names.clear();
        }
        self.accounts.push(account);
        self.account_names.insert(name.to_vec(), number);
        Ok(())
    }

    fn read_position(&mut self, reader: &mut Reader) -> Restored<()> {
        let body = reader.take(32)?;
        let (number, instrument) = (u32_at(body, 0), u32_at(body, 4));
        let known = self.knows_instrument(instrument);
        let account = self.accounts.get_mut(number as usize).filter(|_| known);
        let Some(account) = account else { return Err("a position of nobody or of nothing") };
        if account.positions.last().is_some_and(|last| last.instrument >= instrument) {
            return Err("positions are not in order");
        }
        account.positions.push(Position {
            instrument,
            quantity: i64_at(body, 8),
            held: i64_at(body, 16),
            cost_basis: i64_at(body, 24),
        });
        Ok(())
    }

    fn read_credential(&mut self, reader: &mut Reader) -> Restored<()> {
        let lengths = |body: &[u8]| body[9] as usize + u16_at(body, 10) as usize;
        let (body, texts) = reader.record(16, lengths)?;
        let (name, value) = texts.split_at(body[9] as usize);
        let (number, account, kind) = (u32_at(body, 0), u32_at(body, 4), body[8]);
        if number == 0 || account as usize >= self.accounts.len() {
            return Err("a credential of nobody");
        }
        let (name, value) = (name.to_vec(), value.to_vec());
        self.credentials.set(Credential { number, account, kind, name, value });
        Ok(())
    }

    fn read_orders(&mut self, reader: &mut Reader) -> Restored<()> {
        let mut places = Vec::new();
        for _ in 0..reader.count(ORDER_BODY)? {
            let (slot, priority, place) = self.read_order(reader)?;
            places.push((priority, slot, place));
        }
        places.sort_unstable_by_key(|(priority, slot, _)| (*priority, *slot));
        for (priority, slot, place) in places {
            self.put_back(slot, place, priority);
        }
        Ok(())
    }

    fn read_order(&mut self, reader: &mut Reader) -> Restored<(u32, u64, Place)> {
        let (body, client_id) = reader.record(ORDER_BODY, |body| body[22] as usize)?;
        let tail = reader.take(ORDER_TAIL)?;
        let mut order = parse_order(body, tail);
        let last = self.orders.live_count() as u64;
        let known = self.knows_instrument(order.instrument)
            && order.account != 0
            && (order.account as usize) < self.accounts.len();
        if !known || client_id.len() > 128 || order.protection < 1 || order.id == 0 {
            return Err("an order of nobody or of nothing");
        }
        if last > 0 && self.orders.find(order.id).is_some() {
            return Err("an order stands twice in the snapshot");
        }
        let place = match tail[40] {
            1 => Place::Book,
            2 => Place::Stops,
            3 => Place::Queue,
            _ => return Err("an order without a place"),
        };
        order.hold = i64::try_from(hold_of(&order)).map_err(|_| "an order's hold is impossible")?;
        let slot = self.orders.insert(&order, client_id);
        self.accounts[order.account as usize].link(&mut self.orders, slot);
        Ok((slot, order.priority, place))
    }

    fn read_outcome(&mut self, reader: &mut Reader) -> Restored<()> {
        let record = reader.take(48)?;
        let request = key_at(record, 0);
        if self.outcomes.find(request).is_some() {
            return Err("a request stands twice in the snapshot");
        }
        self.outcomes.push(Outcome {
            request,
            reason: u16_at(record, 16),
            kind: record[18],
            session: u32_at(record, 20),
            number: u64_at(record, 24),
            a: i64_at(record, 32),
            b: i64_at(record, 40),
        });
        Ok(())
    }
}

fn parse_order(body: &[u8], tail: &[u8]) -> Order {
    Order {
        id: u64_at(body, 0),
        account: u32_at(body, 8),
        instrument: u32_at(body, 12),
        side: body[16],
        kind: body[17],
        time_in_force: body[18],
        status: body[19],
        self_trade: body[20],
        flags: body[21],
        close_reason: body[23],
        quantity: i64_at(body, 24),
        notional: i64_at(body, 32),
        limit: i64_at(body, 40),
        stop: i64_at(body, 48),
        filled: i64_at(body, 56),
        value: u128_at(body, 64),
        fee: i64_at(body, 80),
        created_ns: i64_at(body, 88),
        updated_ns: i64_at(body, 96),
        closed_ns: i64_at(body, 104),
        replaces: u64_at(body, 112),
        replaced_by: u64_at(body, 120),
        protection: i64_at(tail, 0),
        maker_ppm: u32_at(tail, 8),
        taker_ppm: u32_at(tail, 12),
        priority: u64_at(tail, 16),
        fees: u128_at(tail, 24),
        ..Order::EMPTY
    }
}
