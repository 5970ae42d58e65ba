import { describe, expect, it } from 'vitest';
import type { Order } from './messages';
import { ENDED_KEPT, compareTimes, editOf, ended, merge, open, replaceAll, replacementOf, type Orders } from './orders';

function order(id: string, status: string, updated: string, created = updated): Order {
  return {
    id,
    status,
    client_order_id: `client-${id}`,
    symbol: 'KIM',
    side: 'buy',
    type: 'limit',
    time_in_force: 'day',
    qty: '10',
    notional: null,
    filled_qty: '0',
    filled_avg_price: null,
    limit_price: '100',
    stop_price: null,
    created_at: `2026-11-22T00:00:${created}Z`,
    updated_at: `2026-11-22T00:00:${updated}Z`,
  };
}

const none: Orders = new Map();
const statusOf = (orders: Orders, id: string) => orders.get(id)?.status;

describe('merge', () => {
  it('takes the newer word, whichever comes first', () => {
    const older = order('a', 'new', '01');
    const newer = order('a', 'partially_filled', '02');
    expect(statusOf(merge(merge(none, older), newer), 'a')).toBe('partially_filled');
    expect(statusOf(merge(merge(none, newer), older), 'a')).toBe('partially_filled');
  });

  it('never opens an ended order again', () => {
    const orders = merge(none, order('a', 'canceled', '01'));
    expect(statusOf(merge(orders, order('a', 'new', '05')), 'a')).toBe('canceled');
  });

  it('leaves the orders it was given as they were', () => {
    const before = merge(none, order('a', 'new', '01'));
    merge(before, order('b', 'new', '02'));
    expect([...before.keys()]).toEqual(['a']);
  });
});

describe('replaceAll', () => {
  it('forgets what the answer does not hold', () => {
    expect([...replaceAll([order('b', 'new', '01')], []).keys()]).toEqual(['b']);
  });

  it('keeps what was heard while the question was under way', () => {
    const orders = replaceAll(
      [order('a', 'new', '01')],
      [order('a', 'filled', '02'), order('c', 'new', '02')],
    );
    expect(statusOf(orders, 'a')).toBe('filled');
    expect(statusOf(orders, 'c')).toBe('new');
  });
});

describe('lists', () => {
  const orders = replaceAll(
    [
      order('a', 'new', '01'),
      order('b', 'filled', '09', '02'),
      order('c', 'held', '03'),
      order('d', 'canceled', '08', '04'),
    ],
    [],
  );

  it('shows open orders, newest first', () => {
    expect(open(orders).map(({ id }) => id)).toEqual(['c', 'a']);
  });

  it('shows ended orders, the last ended first, no more than asked for', () => {
    expect(ended(orders, 9).map(({ id }) => id)).toEqual(['b', 'd']);
    expect(ended(orders, 1).map(({ id }) => id)).toEqual(['b']);
  });
});

describe('compareTimes', () => {
  it('compares instants of different precision', () => {
    expect(compareTimes('2026-01-01T00:00:00Z', '2026-01-01T00:00:00.000000001Z')).toBe(-1);
    expect(compareTimes('2026-01-01T00:00:00.5Z', '2026-01-01T00:00:00.49Z')).toBe(1);
    expect(compareTimes('2026-01-01T00:00:00.50Z', '2026-01-01T00:00:00.5+00:00')).toBe(0);
  });
});

describe('a long day', () => {
  it('forgets the first that ended, never an open one', () => {
    let orders = merge(none, order('open', 'new', '00'));
    for (let i = 0; i < ENDED_KEPT + 5; i++) orders = merge(orders, order(`e${i}`, 'filled', '01'));
    expect(orders.size).toBe(ENDED_KEPT + 1);
    expect([orders.has('open'), orders.has('e4'), orders.has('e5')]).toEqual([true, false, true]);
  });
});

describe('replacementOf', () => {
  const limit = order('1', 'new', '2026-01-01T00:00:00Z');
  const edit = editOf(limit);

  it('asks for what was changed and nothing else', () => {
    expect(replacementOf(limit, edit)).toBeNull();
    expect(replacementOf(limit, { ...edit, qty: `${edit.qty}.0` })).toBeNull();
    expect(replacementOf(limit, { ...edit, limitPrice: '1,234.50' })).toEqual({ limit_price: '1234.5' });
    expect(replacementOf({ ...limit, stop_price: '7' }, { qty: '8', limitPrice: '9', stopPrice: '6' })).toEqual({
      qty: '8',
      limit_price: '9',
      stop_price: '6',
    });
  });

  it('refuses what is no amount, but only in fields that the order has', () => {
    expect(replacementOf(limit, { ...edit, qty: '0' })).toEqual({ field: 'qty', why: 'needPositive' });
    expect(replacementOf(limit, { ...edit, limitPrice: '1e2' })).toEqual({ field: 'limitPrice', why: 'needDigits' });
    expect(replacementOf(limit, { ...edit, stopPrice: 'none' })).toBeNull();
  });
});
