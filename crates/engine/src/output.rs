//! Events, written once, field by field, where they stay in one reusable buffer: byte for byte as `python/madang/wire/events.py` says.

use crate::account::{Account, Credential, Position};
use crate::bytes::{append_padded, padded, put, put_key};
use crate::codes::{event, Reason};
use crate::instrument::Instrument;
use crate::ladder::Level;
use crate::order::{Order, Orders, CLIENT_ID_BYTES};

const HEADER: usize = 32;
const RECORD_HEADER: usize = 8;
/// Bytes of an order's body without its client order id.
pub(crate) const ORDER_BODY: usize = 128;
const ORDER_EXTRA: usize = 32;
const RESULT_BODY: usize = 48;
/// Client order ids up to this long, a UUID's 36 among them, are copied as one piece of this size.
const CLIENT_ID_USUAL: usize = 48;
/// Bytes of the buffer before it grows for the first time.
const BUFFER_BYTES: usize = 1 << 16;

/// What a fill adds to an ORDER event.
#[derive(Clone, Copy, Default)]
pub(crate) struct Fill {
    pub(crate) price: i64,
    pub(crate) quantity: i64,
    pub(crate) trade_id: u64,
}

/// A trade, as both sides see it.
pub(crate) struct Trade {
    pub(crate) instrument: u32,
    pub(crate) aggressor: u8,
    pub(crate) fill: Fill,
    pub(crate) buy: (u64, u32),
    pub(crate) sell: (u64, u32),
}

/// The end of a command.
pub(crate) struct CommandResult {
    pub(crate) account: u32,
    pub(crate) request: [u64; 2],
    pub(crate) reason: u16,
    pub(crate) repeat: bool,
    pub(crate) kind: u8,
    pub(crate) number: u64,
    pub(crate) a: i64,
    pub(crate) b: i64,
    pub(crate) order: Option<u32>,
}

/// The buffer, and what every event's header carries.
pub(crate) struct Output {
    /// Longer than what is written, so that a record is written where it stays, field by field.
    buffer: Vec<u8>,
    written: usize,
    pub(crate) sequence: u64,
    pub(crate) now_ns: i64,
    pub(crate) next_event: u64,
}

/// What every header of an event tells, apart from the event itself.
#[derive(Clone, Copy)]
struct Stamp {
    sequence: u64,
    now_ns: i64,
    event: u64,
}

impl Stamp {
    #[inline]
    fn put(self, target: &mut [u8], length: usize, kind: u8, flags: u8, account: u32) {
        put(target, 0, (length as u16).to_le_bytes());
        target[2] = kind;
        target[3] = flags;
        put(target, 4, account.to_le_bytes());
        put(target, 8, self.sequence.to_le_bytes());
        put(target, 16, self.now_ns.to_le_bytes());
        put(target, 24, self.event.to_le_bytes());
    }
}

/// Write an order's 128 bytes.
#[inline]
pub(crate) fn put_order(target: &mut [u8], order: &Order) {
    let target = &mut target[..ORDER_BODY];
    put(target, 0, order.id.to_le_bytes());
    put(target, 8, order.account.to_le_bytes());
    put(target, 12, order.instrument.to_le_bytes());
    let small = [
        order.side,
        order.kind,
        order.time_in_force,
        order.status,
        order.self_trade,
        order.flags,
        order.client_id_length,
        order.close_reason,
    ];
    put(target, 16, small);
    put(target, 24, order.quantity.to_le_bytes());
    put(target, 32, order.notional.to_le_bytes());
    put(target, 40, order.limit.to_le_bytes());
    put(target, 48, order.stop.to_le_bytes());
    put(target, 56, order.filled.to_le_bytes());
    put(target, 64, order.value.to_le_bytes());
    put(target, 80, order.fee.to_le_bytes());
    put(target, 88, order.created_ns.to_le_bytes());
    put(target, 96, order.updated_ns.to_le_bytes());
    put(target, 104, order.closed_ns.to_le_bytes());
    put(target, 112, order.replaces.to_le_bytes());
    put(target, 120, order.replaced_by.to_le_bytes());
}

/// Append the body of an account with its name.
pub(crate) fn append_account(target: &mut Vec<u8>, account: &Account) {
    let start = target.len();
    let mut body = [0; 32];
    put(&mut body, 0, account.number.to_le_bytes());
    body[4] = account.state;
    body[5] = account.name.len() as u8;
    put(&mut body, 8, account.cash.to_le_bytes());
    put(&mut body, 16, account.held.to_le_bytes());
    put(&mut body, 24, account.created_ns.to_le_bytes());
    target.extend_from_slice(&body);
    append_padded(target, start, &[&account.name]);
}

/// Append the body of an instrument with its texts.
pub(crate) fn append_instrument(target: &mut Vec<u8>, instrument: &Instrument) {
    let start = target.len();
    let mut body = [0; 64];
    put(&mut body, 0, instrument.number.to_le_bytes());
    body[4] = instrument.session;
    body[5] = instrument.symbol.len() as u8;
    body[6] = instrument.exchange.len() as u8;
    body[7] = instrument.name.len() as u8;
    put(&mut body, 8, instrument.tick.to_le_bytes());
    put(&mut body, 16, instrument.lot.to_le_bytes());
    put(&mut body, 24, instrument.reference_price.to_le_bytes());
    put(&mut body, 32, instrument.last_price.to_le_bytes());
    put(&mut body, 40, instrument.last_ns.to_le_bytes());
    put(&mut body, 48, instrument.shares_total.to_le_bytes());
    put(&mut body, 56, instrument.collar_bps.to_le_bytes());
    target.extend_from_slice(&body);
    append_padded(target, start, &[&instrument.symbol, &instrument.exchange, &instrument.name]);
}

/// Append the body of a credential with its texts.
pub(crate) fn append_credential(target: &mut Vec<u8>, credential: &Credential) {
    let start = target.len();
    let mut body = [0; 16];
    put(&mut body, 0, credential.number.to_le_bytes());
    put(&mut body, 4, credential.account.to_le_bytes());
    body[8] = credential.kind;
    body[9] = credential.name.len() as u8;
    put(&mut body, 10, (credential.value.len() as u16).to_le_bytes());
    target.extend_from_slice(&body);
    append_padded(target, start, &[&credential.name, &credential.value]);
}

/// Append the body of a position.
pub(crate) fn append_position(target: &mut Vec<u8>, account: u32, position: &Position) {
    let mut body = [0; 32];
    put(&mut body, 0, account.to_le_bytes());
    put(&mut body, 4, position.instrument.to_le_bytes());
    put(&mut body, 8, position.quantity.to_le_bytes());
    put(&mut body, 16, position.held.to_le_bytes());
    put(&mut body, 24, position.cost_basis.to_le_bytes());
    target.extend_from_slice(&body);
}

/// Append the body of a price level; a total beyond 63 bits is told as the largest number.
pub(crate) fn append_level(target: &mut Vec<u8>, side: u8, level: &Level) {
    let mut body = [0; 24];
    body[0] = side;
    put(&mut body, 4, level.orders.count.to_le_bytes());
    put(&mut body, 8, level.price.to_le_bytes());
    put(&mut body, 16, i64::try_from(level.quantity).unwrap_or(i64::MAX).to_le_bytes());
    target.extend_from_slice(&body);
}

/// Append the body of an order with its client order id.
pub(crate) fn append_order(target: &mut Vec<u8>, orders: &Orders, slot: u32) {
    let mut body = [0; ORDER_BODY];
    put_order(&mut body, &orders[slot]);
    target.extend_from_slice(&body);
    target.extend_from_slice(orders.client_id_padded(slot));
}

/// Append a query record: eight bytes of header, then what `body` appends.
pub(crate) fn append_record(target: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    let start = target.len();
    target.extend_from_slice(&[0; RECORD_HEADER]);
    body(target);
    let length = (target.len() - start) as u16;
    put(target, start, length.to_le_bytes());
    target[start + 2] = kind;
}

/// Write a client order id of `length` bytes with its padding. Usual lengths are copied as one piece
/// of a fixed size: what lies behind is written over by the next record.
#[inline]
fn put_client_id(target: &mut [u8], client_id: &[u8; CLIENT_ID_BYTES], length: usize) {
    if length <= CLIENT_ID_USUAL {
        target[..CLIENT_ID_USUAL].copy_from_slice(&client_id[..CLIENT_ID_USUAL]);
    } else {
        target[..CLIENT_ID_BYTES].copy_from_slice(client_id);
    }
}

impl Output {
    pub(crate) fn new() -> Output {
        Output { buffer: vec![0; BUFFER_BYTES], written: 0, sequence: 0, now_ns: 0, next_event: 1 }
    }

    /// The events written since `clear`.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[..self.written]
    }

    pub(crate) fn clear(&mut self) {
        self.written = 0;
    }

    /// Number the next event.
    #[inline]
    fn stamp(&mut self) -> Stamp {
        self.next_event += 1;
        Stamp { sequence: self.sequence, now_ns: self.now_ns, event: self.next_event - 1 }
    }

    /// Room for one record of `size` bytes, with `SPARE` bytes behind it that may be spoilt.
    #[inline]
    fn record<const SPARE: usize>(&mut self, size: usize) -> &mut [u8] {
        let start = self.written;
        let end = start + size + SPARE;
        if end > self.buffer.len() {
            self.grow(end);
        }
        self.written += size;
        &mut self.buffer[start..end]
    }

    #[cold]
    fn grow(&mut self, size: usize) {
        self.buffer.resize(size.max(self.buffer.len() * 2), 0);
    }

    /// Write an event that is not on the hot path: its body is what `body` appends.
    pub(crate) fn event(&mut self, kind: u8, account: u32, body: impl FnOnce(&mut Vec<u8>)) {
        let mut record = vec![0; HEADER];
        body(&mut record);
        let length = record.len();
        self.stamp().put(&mut record, length, kind, 0, account);
        self.record::<0>(length).copy_from_slice(&record);
    }

    /// Write an ORDER event: the order as it stands, its fill, and the account's shares.
    #[inline]
    pub(crate) fn order(&mut self, orders: &Orders, slot: u32, what: u8, fill: Fill, shares: i64) {
        const BODY: usize = HEADER + ORDER_EXTRA;
        const SIZE: usize = BODY + ORDER_BODY;
        let order = &orders[slot];
        let text = usize::from(order.client_id_length);
        let length = SIZE + padded(text);
        let stamp = self.stamp();
        let record = self.record::<CLIENT_ID_BYTES>(length);
        let (fixed, after) = record.split_at_mut(SIZE);
        stamp.put(fixed, length, event::ORDER, what, order.account);
        put(fixed, HEADER, fill.price.to_le_bytes());
        put(fixed, HEADER + 8, fill.quantity.to_le_bytes());
        put(fixed, HEADER + 16, fill.trade_id.to_le_bytes());
        put(fixed, HEADER + 24, shares.to_le_bytes());
        put_order(&mut fixed[BODY..], order);
        put_client_id(after, orders.client_id(slot), text);
    }

    /// Write a TRADE event.
    pub(crate) fn trade(&mut self, trade: &Trade) {
        const SIZE: usize = HEADER + 56;
        let stamp = self.stamp();
        let record = self.record::<0>(SIZE);
        stamp.put(record, SIZE, event::TRADE, 0, 0);
        let body = &mut record[HEADER..];
        put(body, 0, trade.instrument.to_le_bytes());
        put(body, 4, u32::from(trade.aggressor).to_le_bytes());
        put(body, 8, trade.fill.price.to_le_bytes());
        put(body, 16, trade.fill.quantity.to_le_bytes());
        put(body, 24, trade.fill.trade_id.to_le_bytes());
        put(body, 32, trade.buy.0.to_le_bytes());
        put(body, 40, trade.sell.0.to_le_bytes());
        put(body, 48, trade.buy.1.to_le_bytes());
        put(body, 52, trade.sell.1.to_le_bytes());
    }

    /// Write a RESULT event, the end of its command.
    #[inline]
    pub(crate) fn result(&mut self, orders: &Orders, result: &CommandResult) {
        const SIZE: usize = HEADER + RESULT_BODY;
        let attached = result.order.map(|slot| (&orders[slot], orders.client_id(slot)));
        let text = attached.map_or(0, |(order, _)| usize::from(order.client_id_length));
        let length = SIZE + attached.map_or(0, |_| ORDER_BODY + padded(text));
        let stamp = self.stamp();
        let record = self.record::<CLIENT_ID_BYTES>(length);
        let (fixed, after) = record.split_at_mut(SIZE);
        stamp.put(fixed, length, event::RESULT, 0, result.account);
        let body = &mut fixed[HEADER..];
        put_key(body, 0, result.request);
        put(body, 16, result.reason.to_le_bytes());
        body[18] = u8::from(result.repeat);
        body[19] = u8::from(attached.is_some());
        put(body, 20, u32::from(result.kind).to_le_bytes());
        put(body, 24, result.number.to_le_bytes());
        put(body, 32, result.a.to_le_bytes());
        put(body, 40, result.b.to_le_bytes());
        if let Some((order, client_id)) = attached {
            let (body, after) = after.split_at_mut(ORDER_BODY);
            put_order(body, order);
            put_client_id(after, client_id, text);
        }
    }
}

/// Why a command changed nothing, with the two numbers that explain it.
#[derive(Clone, Copy)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    pub(crate) a: i64,
    pub(crate) b: i64,
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Refusal {
        Refusal { reason, a: 0, b: 0 }
    }
}

impl Reason {
    /// Refuse for this reason, with its numbers.
    pub(crate) fn with(self, a: i64, b: i64) -> Refusal {
        Refusal { reason: self, a, b }
    }
}
