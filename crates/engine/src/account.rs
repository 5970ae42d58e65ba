//! Accounts, their shares, and what people log in with.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::codes::{account_state, credential, CASH_MAX};
use crate::money::basis_part;
use crate::order::{Orders, NIL};

/// Shares of one instrument in one account. A position without shares does not exist.
#[derive(Clone, Copy)]
pub(crate) struct Position {
    pub(crate) instrument: u32,
    pub(crate) quantity: i64,
    pub(crate) held: i64,
    pub(crate) cost_basis: i64,
}

/// An account; account 0 takes fees and what rounding leaves.
pub(crate) struct Account {
    pub(crate) number: u32,
    pub(crate) state: u8,
    pub(crate) name: Vec<u8>,
    pub(crate) cash: i64,
    pub(crate) held: i64,
    pub(crate) created_ns: i64,
    /// Ascending by instrument.
    pub(crate) positions: Vec<Position>,
    /// Live orders, ascending by id: the newest is the tail.
    pub(crate) first_order: u32,
    pub(crate) last_order: u32,
    pub(crate) order_count: u32,
}

impl Account {
    pub(crate) fn new(number: u32, name: &[u8], created_ns: i64) -> Account {
        Account {
            number,
            state: account_state::ACTIVE,
            name: name.to_vec(),
            cash: 0,
            held: 0,
            created_ns,
            positions: Vec::new(),
            first_order: NIL,
            last_order: NIL,
            order_count: 0,
        }
    }

    /// Read what an order of this account will change, so that it meets a warm cache.
    #[inline]
    pub(crate) fn peek(&self) -> u64 {
        self.positions.first().map_or(0, |position| position.held as u64) ^ self.held as u64
    }

    pub(crate) fn available(&self) -> i64 {
        self.cash - self.held
    }

    #[inline]
    fn place_of(&self, instrument: u32) -> Result<usize, usize> {
        self.positions.binary_search_by_key(&instrument, |position| position.instrument)
    }

    pub(crate) fn position(&self, instrument: u32) -> Option<&Position> {
        self.place_of(instrument).ok().map(|at| &self.positions[at])
    }

    pub(crate) fn shares(&self, instrument: u32) -> i64 {
        self.position(instrument).map_or(0, |position| position.quantity)
    }

    /// Shares come in at a cost; the basis never exceeds `CASH_MAX`.
    pub(crate) fn add_shares(&mut self, instrument: u32, quantity: i64, cost: u128) {
        let at = match self.place_of(instrument) {
            Ok(at) => at,
            Err(at) => {
                let empty = Position { instrument, quantity: 0, held: 0, cost_basis: 0 };
                self.positions.insert(at, empty);
                at
            }
        };
        let position = &mut self.positions[at];
        position.quantity += quantity;
        let basis = position.cost_basis as u128 + cost;
        position.cost_basis = basis.min(CASH_MAX as u128) as i64;
    }

    /// Shares go out with their part of the cost.
    pub(crate) fn take_shares(&mut self, instrument: u32, quantity: i64) {
        let place = self.place_of(instrument);
        assert!(place.is_ok(), "account {} has no shares to give", self.number);
        let (Ok(at) | Err(at)) = place;
        let position = &mut self.positions[at];
        assert!(position.quantity >= quantity, "account {} gives what it has not", self.number);
        position.cost_basis -= basis_part(position.cost_basis, quantity, position.quantity);
        position.quantity -= quantity;
        if position.quantity == 0 {
            assert!(position.held == 0, "account {} holds shares it has not", self.number);
            self.positions.remove(at);
        }
    }

    /// Change what live orders hold of these shares.
    pub(crate) fn hold_shares(&mut self, instrument: u32, change: i64) {
        if change == 0 {
            return;
        }
        let place = self.place_of(instrument);
        assert!(place.is_ok(), "account {} has no shares to hold", self.number);
        let (Ok(at) | Err(at)) = place;
        let position = &mut self.positions[at];
        position.held += change;
        assert!(position.held >= 0, "account {} holds less than nothing", self.number);
    }

    /// The newest order goes to the end of the list.
    #[inline]
    pub(crate) fn link(&mut self, orders: &mut Orders, slot: u32) {
        orders[slot].account_previous = self.last_order;
        orders[slot].account_next = NIL;
        if self.last_order == NIL {
            self.first_order = slot;
        } else {
            orders[self.last_order].account_next = slot;
        }
        self.last_order = slot;
        self.order_count += 1;
    }

    #[inline]
    pub(crate) fn unlink(&mut self, orders: &mut Orders, slot: u32) {
        let (previous, next) = (orders[slot].account_previous, orders[slot].account_next);
        if previous == NIL {
            self.first_order = next;
        } else {
            orders[previous].account_next = next;
        }
        if next == NIL {
            self.last_order = previous;
        } else {
            orders[next].account_previous = previous;
        }
        self.order_count -= 1;
    }

    /// Slots of the live orders, ascending by order id.
    pub(crate) fn orders<'a>(&self, orders: &'a Orders) -> impl Iterator<Item = u32> + 'a {
        let present = |slot: u32| (slot != NIL).then_some(slot);
        std::iter::successors(present(self.first_order), move |slot| {
            present(orders[*slot].account_next)
        })
    }
}

/// An API key, a password or a role.
pub(crate) struct Credential {
    pub(crate) number: u32,
    pub(crate) account: u32,
    pub(crate) kind: u8,
    pub(crate) name: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

/// Credentials by number and by what makes them unique.
#[derive(Default)]
pub(crate) struct Credentials {
    by_number: BTreeMap<u32, Credential>,
    by_name: BTreeMap<(u8, u32, Vec<u8>), u32>,
}

impl Credentials {
    /// Kinds that log in are unique over all accounts, roles within one.
    fn unique(kind: u8, account: u32, name: &[u8]) -> (u8, u32, Vec<u8>) {
        (kind, if kind == credential::ROLE { account } else { 0 }, name.to_vec())
    }

    pub(crate) fn find(&self, kind: u8, account: u32, name: &[u8]) -> Option<&Credential> {
        let number = self.by_name.get(&Credentials::unique(kind, account, name))?;
        self.by_number.get(number)
    }

    pub(crate) fn set(&mut self, credential: Credential) {
        let Credential { kind, account, number, .. } = credential;
        self.by_name.insert(Credentials::unique(kind, account, &credential.name), number);
        self.by_number.insert(number, credential);
    }

    pub(crate) fn remove(&mut self, number: u32) {
        if let Some(gone) = self.by_number.remove(&number) {
            self.by_name.remove(&Credentials::unique(gone.kind, gone.account, &gone.name));
        }
    }

    pub(crate) fn after(&self, number: u32) -> impl Iterator<Item = &Credential> {
        self.by_number.range((Bound::Excluded(number), Bound::Unbounded)).map(|(_, found)| found)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_number.len()
    }
}
