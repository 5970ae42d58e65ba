/**
 * The account's orders as the page knows them, from two sources that race: answers over REST and
 * events over the stream. Pure: the newer word about an order wins, and an ended order stays ended.
 */
import { parse, toText } from './decimal';
import type { Order } from './messages';
import type { Replacement } from './trading';

export type Orders = ReadonlyMap<string, Order>;

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

/** Take one more word about one order in. */
export function merge(orders: Orders, order: Order): Orders {
  const known = orders.get(order.id);
  if (known && (isEnded(known) || compareTimes(known.updated_at, order.updated_at) > 0)) {
    return orders;
  }
  return new Map(orders).set(order.id, order);
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
  return [...orders.values()]
    .filter((order) => !isEnded(order))
    .sort((a, b) => compareTimes(b.created_at, a.created_at));
}

/** Ended orders, the last ended first, at most `limit`. */
export function ended(orders: Orders, limit: number): Order[] {
  return [...orders.values()]
    .filter(isEnded)
    .sort((a, b) => compareTimes(b.updated_at, a.updated_at))
    .slice(0, limit);
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

/** The request that an edit asks for: null where nothing changed, `wrong` where a field is no amount. */
export function replacementOf(order: Order, edit: Edit): Replacement | null | 'wrong' {
  const fields = [
    ['qty', order.qty, edit.qty],
    ['limit_price', order.limit_price, edit.limitPrice],
    ['stop_price', order.stop_price, edit.stopPrice],
  ] as const;
  const changes: Replacement = {};
  for (const [name, before, text] of fields) {
    if (before === null) continue;
    const value = parse(text.replaceAll(',', ''));
    if (value === null || value <= 0n) return 'wrong';
    if (value !== parse(before)) changes[name] = toText(value);
  }
  return Object.keys(changes).length > 0 ? changes : null;
}
