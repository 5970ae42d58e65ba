/**
 * The account's orders as the page knows them, from two sources that race: answers over REST and
 * events over the stream. Pure: the newer word about an order wins, and an ended order stays ended.
 */
import { positive, wrongOf, type Wrong } from './amounts';
import { parse, toText } from './decimal';
import type { Order } from './messages';
import type { Replacement } from './trading';

export type Orders = ReadonlyMap<string, Order>;

/** Ended orders that are remembered: more than are shown, so that a late word changes none of them. */
export const ENDED_KEPT = 500;

const ENDED = new Set(['filled', 'canceled', 'expired', 'replaced', 'rejected', 'done_for_day']);

export function isEnded(order: Order): boolean {
  return ENDED.has(order.status);
}

/** RFC 3339 instants of any precision in UTC, in order of time. */
export function compareTimes(a: string, b: string): number {
  const [left, right] = [spread(a), spread(b)];
  return left < right ? -1 : left > right ? 1 : 0;
}

function spread(time: string): string {
  const [whole = '', fraction = ''] = time.replace(/(Z|[+-]00:00)$/, '').split('.');
  return `${whole}.${fraction.padEnd(9, '0')}`;
}

/** Take one more word about one order in; beyond ENDED_KEPT the first ended that came goes. */
export function merge(orders: Orders, order: Order): Orders {
  const known = orders.get(order.id);
  if (known && (isEnded(known) || compareTimes(known.updated_at, order.updated_at) > 0)) {
    return orders;
  }
  const after = new Map(orders).set(order.id, order);
  if (after.size <= ENDED_KEPT) return after;
  const over = [...after.values()].filter(isEnded).length - ENDED_KEPT;
  for (const { id } of [...after.values()].filter(isEnded).slice(0, Math.max(0, over))) {
    after.delete(id);
  }
  return after;
}

/**
 * Replace all by a full answer, but keep what was heard while it was under way.
 *
 * `heard` holds the orders of the events that came since the question was asked.
 */
export function replaceAll(answer: readonly Order[], heard: readonly Order[]): Orders {
  const orders: Orders = new Map(answer.map((order) => [order.id, order]));
  return heard.reduce(merge, orders);
}

/** Open orders, newest first. */
export function open(orders: Orders): Order[] {
  const found = [...orders.values()].filter((order) => !isEnded(order));
  return newestFirst(found, 'created_at');
}

/** Ended orders, the last ended first, at most `limit`. */
export function ended(orders: Orders, limit: number): Order[] {
  return newestFirst([...orders.values()].filter(isEnded), 'updated_at').slice(0, limit);
}

function newestFirst(orders: Order[], by: 'created_at' | 'updated_at'): Order[] {
  return orders
    .map((order) => ({ order, key: spread(order[by]) }))
    .sort((a, b) => (a.key < b.key ? 1 : a.key > b.key ? -1 : 0))
    .map(({ order }) => order);
}

/** What a person typed over an order: text as it stands in the fields. */
export interface Edit {
  qty: string;
  limitPrice: string;
  stopPrice: string;
}

export const editOf = (order: Order): Edit => ({
  qty: order.qty ?? '',
  limitPrice: order.limit_price ?? '',
  stopPrice: order.stop_price ?? '',
});

/** The first field that holds no amount, and why it is none. */
export interface Misfit {
  field: keyof Edit;
  why: Wrong;
}

/** The request that an edit asks for, null where nothing changed. */
export function replacementOf(order: Order, edit: Edit): Replacement | Misfit | null {
  const fields = [
    ['limit_price', order.limit_price, 'limitPrice'],
    ['stop_price', order.stop_price, 'stopPrice'],
    ['qty', order.qty, 'qty'],
  ] as const;
  const changes: Replacement = {};
  for (const [name, before, field] of fields) {
    if (before === null) continue;
    const why = wrongOf(edit[field]);
    if (why !== null) return { field, why };
    const value = positive(edit[field]) ?? 0n;
    if (value !== parse(before)) changes[name] = toText(value);
  }
  return Object.keys(changes).length > 0 ? changes : null;
}
