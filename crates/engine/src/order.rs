//! Orders in one slab: a slot number is an order's address while the command runs.
//!
//! A closed order keeps its slot until the command ends, because its last state is still reported;
//! `Orders::sweep` then gives the slots back. `place` names the one list that `previous`/`next` belong to.

use crate::codes::terms;
use crate::table::IdTable;

/// No slot.
pub(crate) const NIL: u32 = u32::MAX;
/// Bytes of the longest client order id.
pub(crate) const CLIENT_ID_BYTES: usize = 128;

/// Where a live order waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Place {
    Nowhere = 0,
    Book = 1,
    Stops = 2,
    Queue = 3,
}

/// One order; the units are those of `codes`.
#[derive(Clone, Copy)]
pub(crate) struct Order {
    pub(crate) value: u128,
    pub(crate) fees: u128,
    pub(crate) id: u64,
    pub(crate) account: u32,
    pub(crate) instrument: u32,
    pub(crate) side: u8,
    pub(crate) kind: u8,
    pub(crate) time_in_force: u8,
    pub(crate) status: u8,
    pub(crate) self_trade: u8,
    pub(crate) flags: u8,
    pub(crate) client_id_length: u8,
    pub(crate) close_reason: u8,
    pub(crate) quantity: i64,
    pub(crate) notional: i64,
    pub(crate) limit: i64,
    pub(crate) stop: i64,
    pub(crate) filled: i64,
    pub(crate) fee: i64,
    pub(crate) created_ns: i64,
    pub(crate) updated_ns: i64,
    pub(crate) closed_ns: i64,
    pub(crate) replaces: u64,
    pub(crate) replaced_by: u64,
    /// The worst price it may trade at.
    pub(crate) protection: i64,
    /// Cash (buy) or shares (sell) that it holds.
    pub(crate) hold: i64,
    pub(crate) priority: u64,
    pub(crate) maker_ppm: u32,
    pub(crate) taker_ppm: u32,
    pub(crate) place: Place,
    pub(crate) level: u32,
    pub(crate) previous: u32,
    pub(crate) next: u32,
    pub(crate) account_previous: u32,
    pub(crate) account_next: u32,
}

impl Order {
    pub(crate) const EMPTY: Order = Order {
        value: 0,
        fees: 0,
        id: 0,
        account: 0,
        instrument: 0,
        side: 0,
        kind: 0,
        time_in_force: 0,
        status: 0,
        self_trade: 0,
        flags: 0,
        client_id_length: 0,
        close_reason: 0,
        quantity: 0,
        notional: 0,
        limit: 0,
        stop: 0,
        filled: 0,
        fee: 0,
        created_ns: 0,
        updated_ns: 0,
        closed_ns: 0,
        replaces: 0,
        replaced_by: 0,
        protection: 0,
        hold: 0,
        priority: 0,
        maker_ppm: 0,
        taker_ppm: 0,
        place: Place::Nowhere,
        level: NIL,
        previous: NIL,
        next: NIL,
        account_previous: NIL,
        account_next: NIL,
    };

    pub(crate) fn is_buy(&self) -> bool {
        self.side == terms::BUY
    }

    /// A market order for an amount of money: it has no quantity.
    pub(crate) fn is_notional(&self) -> bool {
        self.kind == terms::MARKET && self.notional != 0
    }

    pub(crate) fn is_stop(&self) -> bool {
        self.kind == terms::STOP || self.kind == terms::STOP_LIMIT
    }

    pub(crate) fn has_limit(&self) -> bool {
        self.kind == terms::LIMIT || self.kind == terms::STOP_LIMIT
    }

    pub(crate) fn is_triggered(&self) -> bool {
        self.flags & terms::TRIGGERED != 0
    }

    /// Quantity still to be filled; orders by notional have none to tell.
    pub(crate) fn leaves(&self) -> i64 {
        if self.is_notional() {
            0
        } else {
            self.quantity - self.filled
        }
    }
}

/// All live orders, by slot and by id, with their client order ids beside them.
pub(crate) struct Orders {
    slots: Vec<Order>,
    client_ids: Vec<[u8; CLIENT_ID_BYTES]>,
    free: Vec<u32>,
    closed: Vec<u32>,
    by_id: IdTable,
}

impl Orders {
    pub(crate) fn new() -> Orders {
        Orders {
            slots: Vec::new(),
            client_ids: Vec::new(),
            free: Vec::new(),
            closed: Vec::new(),
            by_id: IdTable::new(),
        }
    }

    /// Take a slot for `order`; the client order id's length comes from `client_id`.
    pub(crate) fn insert(&mut self, order: &Order, client_id: &[u8]) -> u32 {
        let slot = if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = *order;
            slot
        } else {
            self.slots.push(*order);
            self.client_ids.push([0; CLIENT_ID_BYTES]);
            (self.slots.len() - 1) as u32
        };
        let text = &mut self.client_ids[slot as usize];
        text[..client_id.len()].copy_from_slice(client_id);
        let end = crate::bytes::padded(client_id.len());
        text[client_id.len()..end].fill(0);
        self.slots[slot as usize].client_id_length = client_id.len() as u8;
        self.by_id.insert(order.id, slot);
        slot
    }

    /// The order is no longer live; its slot is readable until `sweep`.
    pub(crate) fn close(&mut self, slot: u32) {
        let id = self[slot].id;
        self.by_id.remove(id);
        self.closed.push(slot);
    }

    /// Give back the slots of orders closed since the last sweep.
    #[inline]
    pub(crate) fn sweep(&mut self) {
        self.free.append(&mut self.closed);
    }

    pub(crate) fn find(&self, id: u64) -> Option<u32> {
        self.by_id.get(id)
    }

    pub(crate) fn is_live(&self, id: u64) -> bool {
        self.by_id.get(id).is_some()
    }

    pub(crate) fn live_count(&self) -> usize {
        self.by_id.len()
    }

    /// Slots of all live orders, ascending by id.
    pub(crate) fn by_id_ascending(&self) -> Vec<u32> {
        let mut pairs = self.by_id.pairs();
        pairs.sort_unstable();
        pairs.into_iter().map(|(_, slot)| slot).collect()
    }

    /// Read an order's lines, so that its command meets a warm cache.
    #[inline]
    pub(crate) fn peek(&self, slot: u32) -> u64 {
        let order = &self.slots[slot as usize];
        order.value as u64 ^ order.created_ns as u64 ^ order.priority ^ order.id
    }

    /// The client order id, its padding of zeros, and whatever an earlier one left behind that.
    #[inline]
    pub(crate) fn client_id(&self, slot: u32) -> &[u8; CLIENT_ID_BYTES] {
        &self.client_ids[slot as usize]
    }

    /// The client order id with its padding of zeros.
    #[inline]
    pub(crate) fn client_id_padded(&self, slot: u32) -> &[u8] {
        let length = self.slots[slot as usize].client_id_length as usize;
        &self.client_ids[slot as usize][..crate::bytes::padded(length)]
    }
}

impl std::ops::Index<u32> for Orders {
    type Output = Order;
    #[inline]
    fn index(&self, slot: u32) -> &Order {
        &self.slots[slot as usize]
    }
}

impl std::ops::IndexMut<u32> for Orders {
    #[inline]
    fn index_mut(&mut self, slot: u32) -> &mut Order {
        &mut self.slots[slot as usize]
    }
}
