/** Decimal text from the server as people read it. A missing number is a dash, never a zero. */
import { format, MINUS, ONE, parse } from './decimal';

export const NOTHING = '–';
const LEAST_SIZE = ONE / 10_000n;

export function showPrice(text: string | null | undefined): string {
  return show(text, 2, 4);
}

export function showQty(text: string | null | undefined): string {
  return show(text, 0, 9);
}

export function showCash(text: string | null | undefined): string {
  return show(text, 2, 2);
}

/** An amount of money with its currency, the sign before both. */
export function showMoney(text: string | null | undefined): string {
  const shown = showCash(text);
  if (shown === NOTHING) return NOTHING;
  return shown.startsWith(MINUS) ? `${MINUS}$${shown.slice(1)}` : `$${shown}`;
}

/**
 * A quantity that many added to, short enough to stand in a column: whole from a thousand on, two
 * decimals below it, four below one. What a person holds or ordered is shown by `showQty` instead.
 */
export function showSize(text: string | null | undefined): string {
  const value = parse(text);
  if (value === null) return NOTHING;
  if (value >= 1_000n * ONE) return format(value, 0, 0);
  if (value >= ONE || value === 0n) return format(value, 0, 2);
  return value < LEAST_SIZE ? `<${format(LEAST_SIZE, 0, 4)}` : format(value, 0, 4);
}

/** The whole quantity for who points at it, where `showSize` leaves some of it out. */
export function exactSize(text: string | null | undefined): string | undefined {
  const exact = showQty(text);
  return exact === showSize(text) ? undefined : exact;
}

/** How many of something there are. */
export function showCount(count: number | null | undefined): string {
  return count === null || count === undefined ? NOTHING : count.toLocaleString('en-US');
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
  return order.qty !== null ? showQty(order.qty) : showMoney(order.notional);
}
