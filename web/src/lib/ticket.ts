/**
 * The order ticket without its looks: what was typed in, what it may cost, and the request that
 * follows. Pure. It refuses only what cannot be sent at all; every rule of the market is the
 * server's, and its words are shown.
 */
import { positive, wrongOf, type Wrong } from './amounts';
import { divide, multiply, round, toText, type Decimal } from './decimal';
import type { Level, OrderType, Side, TimeInForce } from './messages';

export interface Draft {
  side: Side;
  type: OrderType;
  timeInForce: TimeInForce;
  by: 'qty' | 'notional';
  amount: string;
  limitPrice: string;
  stopPrice: string;
}

export type Field = 'amount' | 'limitPrice' | 'stopPrice';

export interface OrderRequest {
  symbol: string;
  side: Side;
  type: OrderType;
  time_in_force: TimeInForce;
  client_order_id: string;
  qty?: string;
  notional?: string;
  limit_price?: string;
  stop_price?: string;
}

/** Cash has six decimals. */
const CASH_PLACES = 6;

export function needsLimit(type: OrderType): boolean {
  return type === 'limit' || type === 'stop_limit';
}

export function needsStop(type: OrderType): boolean {
  return type === 'stop' || type === 'stop_limit';
}

/** The fields that hold no amount, in the order in which they stand, each with why it is none. */
export function wrongFields(draft: Draft): { field: Field; why: Wrong }[] {
  const fields: Field[] = ['amount'];
  if (needsStop(draft.type)) fields.push('stopPrice');
  if (needsLimit(draft.type)) fields.push('limitPrice');
  return fields.flatMap((field) => {
    const why = wrongOf(draft[field]);
    return why === null ? [] : [{ field, why }];
  });
}

export function toRequest(draft: Draft, symbol: string, clientOrderId: string): OrderRequest {
  const request: OrderRequest = {
    symbol,
    side: draft.side,
    type: draft.type,
    time_in_force: draft.timeInForce,
    client_order_id: clientOrderId,
  };
  request[draft.by] = plain(draft.amount);
  if (needsLimit(draft.type)) request.limit_price = plain(draft.limitPrice);
  if (needsStop(draft.type)) request.stop_price = plain(draft.stopPrice);
  return request;
}

export interface Estimate {
  /** What a buyer pays or a seller gets, before fees. */
  cash: Decimal;
  /** Shares: exact when ordered by quantity, else estimated. */
  qty: Decimal;
  /** The visible book is not deep enough, so there is more than `cash` to it. */
  partial: boolean;
}

/** What the order is likely to cost before fees, or null where nothing can be said. */
export function estimate(draft: Draft, opposite: readonly Level[]): Estimate | null {
  const amount = positive(draft.amount);
  if (amount === null) return null;
  if (draft.type === 'market') {
    return draft.by === 'qty' ? walkQty(amount, opposite, draft.side) : walkCash(amount, opposite);
  }
  const price = positive(needsLimit(draft.type) ? draft.limitPrice : draft.stopPrice);
  if (price === null) return null;
  if (draft.by === 'notional') {
    return { cash: amount, qty: divide(amount, price, 'down'), partial: false };
  }
  return { cash: cashOf(price, amount, draft.side), qty: amount, partial: false };
}

function walkQty(qty: Decimal, levels: readonly Level[], side: Side): Estimate | null {
  let left = qty;
  let cash = 0n;
  for (const [price, size] of pairs(levels)) {
    const taken = size < left ? size : left;
    cash += cashOf(price, taken, side);
    left -= taken;
    if (left === 0n) break;
  }
  return left === qty ? null : { cash, qty, partial: left > 0n };
}

function walkCash(cash: Decimal, levels: readonly Level[]): Estimate | null {
  let left = cash;
  let qty = 0n;
  for (const [price, size] of pairs(levels)) {
    const affordable = divide(left, price, 'down');
    const taken = size < affordable ? size : affordable;
    qty += taken;
    left -= multiply(price, taken, 'down');
    if (taken === affordable) return { cash, qty, partial: false };
  }
  return qty === 0n ? null : { cash, qty, partial: true };
}

function cashOf(price: Decimal, qty: Decimal, side: Side): Decimal {
  const rounding = side === 'buy' ? 'up' : 'down';
  return round(multiply(price, qty, rounding), CASH_PLACES, rounding);
}

function* pairs(levels: readonly Level[]): Generator<[price: Decimal, size: Decimal]> {
  for (const [priceText, sizeText] of levels) {
    const price = positive(priceText);
    const size = positive(sizeText);
    if (price !== null && size !== null) yield [price, size];
  }
}

/** Move a price by whole ticks, on the tick grid, never to zero or below. */
export function stepPrice(text: string, tick: Decimal, steps: number, start: string | null): string {
  const from = positive(text) ?? positive(start);
  if (from === null || tick <= 0n) return text;
  const moved = (from / tick + BigInt(steps)) * tick;
  return toText(moved > 0n ? moved : tick);
}

function plain(text: string): string {
  return toText(positive(text) ?? 0n);
}

