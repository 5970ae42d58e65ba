/** Decimal text from the server as people read it. A missing number is a dash, never a zero. */
import { format, parse } from './decimal';

export const NOTHING = '–';

export function showPrice(text: string | null | undefined): string {
  return show(text, 2, 4);
}

export function showQty(text: string | null | undefined): string {
  return show(text, 0, 9);
}

export function showCash(text: string | null | undefined): string {
  return show(text, 2, 2);
}

function show(text: string | null | undefined, least: number, most: number): string {
  const value = parse(text);
  return value === null ? NOTHING : format(value, least, most);
}

/** The time of day of an RFC 3339 instant, in the reader's zone. */
export function showTime(instant: string): string {
  const at = new Date(instant);
  return Number.isNaN(at.getTime()) ? NOTHING : at.toLocaleTimeString('en-GB');
}

/** What was ordered: shares, or an amount of cash. */
export function showOrdered(order: { qty: string | null; notional: string | null }): string {
  return order.qty !== null ? showQty(order.qty) : `$${showCash(order.notional)}`;
}
