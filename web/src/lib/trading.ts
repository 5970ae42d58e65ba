/** What the trading page asks of the server beside what every page does. */
import { call } from './api';
import type { BarsAnswer, Fill, Interval, Order } from './messages';

export const FILLS_LIMIT = 50;

/** What a replacement changes; what is left out stays as it is. */
export interface Replacement {
  qty?: string;
  limit_price?: string;
  stop_price?: string;
}

export const replaceOrder = (id: string, changes: Replacement) =>
  call<Order>('PATCH', `/v2/orders/${encodeURIComponent(id)}`, changes);

export const closePosition = (symbol: string) =>
  call<Order>('DELETE', `/v2/positions/${encodeURIComponent(symbol)}`);

export const fills = () =>
  call<Fill[]>('GET', `/v2/account/activities/FILL?page_size=${FILLS_LIMIT}`);

/** The newest candles, or the newest that begin before `end` (seconds since the epoch). */
export function bars(symbol: string, interval: Interval, limit: number, end?: number) {
  const query = new URLSearchParams({ symbol, timeframe: interval, limit: String(limit) });
  if (end !== undefined) query.set('end', new Date(end * 1000).toISOString());
  return call<BarsAnswer>('GET', `/web/bars?${query}`);
}
