//! One side of a book, or of its stops: price levels with the best at the end, orders in time order.
//!
//! A ladder sorts by `key = price * sign`, ascending, so that the best level is always the last: the
//! sign is +1 where higher is better (bids, sell stops) and -1 where lower is (asks, buy stops). What
//! happens near the touch then moves few bytes. Invariant: a level exists while it has orders, and its
//! `quantity` is the sum of their leaves.

use crate::codes::terms;
use crate::order::{Orders, NIL};

/// Orders in time order, linked through the slab.
#[derive(Clone, Copy)]
pub(crate) struct Fifo {
    pub(crate) head: u32,
    pub(crate) tail: u32,
    pub(crate) count: u32,
}

impl Fifo {
    pub(crate) const EMPTY: Fifo = Fifo { head: NIL, tail: NIL, count: 0 };

    #[inline]
    pub(crate) fn push(&mut self, orders: &mut Orders, slot: u32) {
        orders[slot].previous = self.tail;
        orders[slot].next = NIL;
        if self.tail == NIL {
            self.head = slot;
        } else {
            orders[self.tail].next = slot;
        }
        self.tail = slot;
        self.count += 1;
    }

    #[inline]
    pub(crate) fn remove(&mut self, orders: &mut Orders, slot: u32) {
        let (previous, next) = (orders[slot].previous, orders[slot].next);
        if previous == NIL {
            self.head = next;
        } else {
            orders[previous].next = next;
        }
        if next == NIL {
            self.tail = previous;
        } else {
            orders[next].previous = previous;
        }
        self.count -= 1;
    }

    /// Put `new` exactly where `old` stands.
    pub(crate) fn exchange(&mut self, orders: &mut Orders, old: u32, new: u32) {
        let (previous, next) = (orders[old].previous, orders[old].next);
        orders[new].previous = previous;
        orders[new].next = next;
        if previous == NIL {
            self.head = new;
        } else {
            orders[previous].next = new;
        }
        if next == NIL {
            self.tail = new;
        } else {
            orders[next].previous = new;
        }
    }

    /// Slots from head to tail.
    pub(crate) fn iter<'a>(&self, orders: &'a Orders) -> impl Iterator<Item = u32> + 'a {
        let present = |slot: u32| (slot != NIL).then_some(slot);
        std::iter::successors(present(self.head), move |slot| present(orders[*slot].next))
    }
}

/// All orders at one price.
#[derive(Clone, Copy)]
pub(crate) struct Level {
    pub(crate) quantity: u128,
    pub(crate) price: i64,
    pub(crate) orders: Fifo,
}

/// Price levels of one side.
pub(crate) struct Ladder {
    sign: i64,
    keys: Vec<i64>,
    numbers: Vec<u32>,
    levels: Vec<Level>,
    free: Vec<u32>,
}

impl Ladder {
    /// A ladder whose best price is the highest, or else the lowest.
    pub(crate) fn new(best_is_highest: bool) -> Ladder {
        Ladder {
            sign: if best_is_highest { 1 } else { -1 },
            keys: Vec::new(),
            numbers: Vec::new(),
            levels: Vec::new(),
            free: Vec::new(),
        }
    }

    /// The two sides of a book, in the order buy, sell.
    pub(crate) fn book() -> [Ladder; 2] {
        [Ladder::new(true), Ladder::new(false)]
    }

    /// The stops of buy and sell orders: the next to trigger is the best.
    pub(crate) fn stops() -> [Ladder; 2] {
        [Ladder::new(false), Ladder::new(true)]
    }

    pub(crate) fn best_price(&self) -> Option<i64> {
        self.keys.last().map(|key| key * self.sign)
    }

    /// The oldest order at the best price, where that is `limit` or better.
    #[inline]
    pub(crate) fn head_within(&self, limit: i64) -> Option<u32> {
        let (key, number) = (self.keys.last()?, self.numbers.last()?);
        (*key >= limit * self.sign).then(|| self.levels[*number as usize].orders.head)
    }

    /// Levels from the best on.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Level> {
        self.numbers.iter().rev().map(|number| &self.levels[*number as usize])
    }

    /// Levels from the best on, as far as `limit` or better.
    pub(crate) fn within(&self, limit: i64) -> impl Iterator<Item = &Level> {
        let worst = limit * self.sign;
        self.iter().take_while(move |level| level.price * self.sign >= worst)
    }

    /// Put the order at the end of its price's queue.
    pub(crate) fn push(&mut self, orders: &mut Orders, slot: u32, price: i64) {
        let key = price * self.sign;
        let at = self.keys.partition_point(|other| *other < key);
        if self.keys.get(at) != Some(&key) {
            let number = self.new_level(price);
            self.keys.insert(at, key);
            self.numbers.insert(at, number);
        }
        let number = self.numbers[at];
        let level = &mut self.levels[number as usize];
        level.quantity += orders[slot].leaves() as u128;
        level.orders.push(orders, slot);
        orders[slot].level = number;
    }

    fn new_level(&mut self, price: i64) -> u32 {
        let level = Level { quantity: 0, price, orders: Fifo::EMPTY };
        if let Some(number) = self.free.pop() {
            self.levels[number as usize] = level;
            return number;
        }
        self.levels.push(level);
        (self.levels.len() - 1) as u32
    }

    /// Take the order out.
    pub(crate) fn remove(&mut self, orders: &mut Orders, slot: u32) {
        let number = orders[slot].level;
        let level = &mut self.levels[number as usize];
        level.quantity -= orders[slot].leaves() as u128;
        level.orders.remove(orders, slot);
        if level.orders.count == 0 {
            let key = level.price * self.sign;
            let at = self.keys.partition_point(|other| *other < key);
            self.keys.remove(at);
            self.numbers.remove(at);
            self.free.push(number);
        }
    }

    /// Put `new` exactly where `old` stands.
    pub(crate) fn exchange(&mut self, orders: &mut Orders, old: u32, new: u32) {
        let number = orders[old].level;
        let level = &mut self.levels[number as usize];
        level.quantity -= orders[old].leaves() as u128;
        level.quantity += orders[new].leaves() as u128;
        level.orders.exchange(orders, old, new);
        orders[new].level = number;
    }

    /// An order of this level has `quantity` less to be filled.
    #[inline]
    pub(crate) fn reduce(&mut self, number: u32, quantity: i64) {
        self.levels[number as usize].quantity -= quantity as u128;
    }

    /// Say what does not hold: order of levels, their totals, time order inside.
    pub(crate) fn check(&self, orders: &Orders) -> Result<(), &'static str> {
        if self.keys.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err("levels are not in price order");
        }
        for (key, number) in self.keys.iter().zip(&self.numbers) {
            let level = &self.levels[*number as usize];
            let slots: Vec<u32> = level.orders.iter(orders).collect();
            let total: u128 = slots.iter().map(|slot| orders[*slot].leaves() as u128).sum();
            if level.price * self.sign != *key || total != level.quantity {
                return Err("a level's total differs from its orders");
            }
            if slots.is_empty() || slots.len() != level.orders.count as usize {
                return Err("a level's count differs from its orders");
            }
            if slots.windows(2).any(|pair| orders[pair[0]].priority >= orders[pair[1]].priority) {
                return Err("a level is not in time order");
            }
        }
        Ok(())
    }
}

/// Where a side's ladder stands in its pair.
#[inline]
pub(crate) fn side_index(side: u8) -> usize {
    usize::from(side != terms::BUY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::Order;

    fn rest(orders: &mut Orders, ladder: &mut Ladder, id: u64, price: i64, quantity: i64) -> u32 {
        let order =
            Order { id, kind: terms::LIMIT, quantity, limit: price, priority: id, ..Order::EMPTY };
        let slot = orders.insert(&order, b"x");
        ladder.push(orders, slot, price);
        slot
    }

    fn text(ladder: &Ladder, orders: &Orders) -> String {
        let level = |level: &Level| {
            let ids: Vec<String> =
                level.orders.iter(orders).map(|slot| orders[slot].id.to_string()).collect();
            format!("{}x{}:{}", level.price, level.quantity, ids.join(","))
        };
        ladder.iter().map(level).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn best_price_comes_first_and_time_decides_inside_a_price() {
        for (highest, expected) in
            [(true, "12x5:3 10x30:1,4 9x1:2"), (false, "9x1:2 10x30:1,4 12x5:3")]
        {
            let mut orders = Orders::new();
            let mut ladder = Ladder::new(highest);
            for (id, price, quantity) in [(1, 10, 10), (2, 9, 1), (3, 12, 5), (4, 10, 20)] {
                rest(&mut orders, &mut ladder, id, price, quantity);
            }
            assert_eq!(text(&ladder, &orders), expected);
            ladder.check(&orders).unwrap_or_else(|problem| unreachable!("{problem}"));
        }
    }

    #[test]
    fn removal_and_exchange_keep_the_others_in_place() {
        let mut orders = Orders::new();
        let mut asks = Ladder::new(false);
        let slots: Vec<u32> = (1..=4).map(|id| rest(&mut orders, &mut asks, id, 50, 10)).collect();
        let new = Order { id: 9, quantity: 3, ..orders[slots[1]] };
        let new = orders.insert(&new, b"y");
        asks.exchange(&mut orders, slots[1], new);
        asks.remove(&mut orders, slots[0]);
        asks.remove(&mut orders, slots[3]);
        assert_eq!(text(&asks, &orders), "50x13:9,3");
        assert_eq!(asks.head_within(49), None);
        assert_eq!(asks.head_within(50), Some(new));
        asks.remove(&mut orders, new);
        asks.remove(&mut orders, slots[2]);
        assert_eq!(asks.best_price(), None);
    }
}
