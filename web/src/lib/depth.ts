/**
 * The book of one symbol as the page holds it: snapshots replace it, changes lead it on. Pure.
 *
 * Invariant: the levels are those of the server at `sequence`. A change that leads from another
 * sequence is not applied, and whoever holds the book has it said anew.
 */
import { parse, toText, type Decimal } from './decimal';
import type { BookFrame, ChangeFrame, Level } from './messages';

export interface Book {
  sequence: number;
  /** Best first. */
  bids: readonly Level[];
  asks: readonly Level[];
}

export const bookOf = (frame: BookFrame): Book => ({
  sequence: frame.sequence,
  bids: frame.bids,
  asks: frame.asks,
});

/** The book after a change; null where the change does not lead on from it. */
export function follow(book: Book, change: ChangeFrame): Book | null {
  if (change.sequence <= book.sequence) return book;
  if (change.previous !== book.sequence) return null;
  return {
    sequence: change.sequence,
    bids: merge(book.bids, change.bids, -1n),
    asks: merge(book.asks, change.asks, 1n),
  };
}

function merge(levels: readonly Level[], changes: readonly Level[], order: bigint): readonly Level[] {
  if (changes.length === 0) return levels;
  const byPrice = new Map(levels);
  for (const [price, qty] of changes) {
    if (qty === '0') byPrice.delete(price);
    else byPrice.set(price, qty);
  }
  return [...byPrice]
    .map((level) => ({ level, key: (parse(level[0]) ?? 0n) * order }))
    .sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
    .map(({ level }) => level);
}

export interface LadderRow {
  price: string;
  qty: string;
  total: string;
  /** Share of the deeper side's total among the rows shown, 0 to 100, for the bar only. */
  share: number;
  /** Shares of the account's own orders that rest here, or null. */
  own: string | null;
}

export interface Ladder {
  bids: LadderRow[];
  asks: LadderRow[];
}

/** The best `count` levels of both sides with running totals; `own` is shares by price. */
export function ladder(
  bids: readonly Level[],
  asks: readonly Level[],
  count: number,
  own: { buy: ReadonlyMap<string, string>; sell: ReadonlyMap<string, string> },
): Ladder {
  const [shownBids, shownAsks] = [bids.slice(0, count), asks.slice(0, count)];
  const [bidTotal, askTotal] = [sum(shownBids), sum(shownAsks)];
  const deepest = bidTotal > askTotal ? bidTotal : askTotal;
  return {
    bids: toRows(shownBids, deepest, own.buy),
    asks: toRows(shownAsks, deepest, own.sell),
  };
}

function toRows(
  levels: readonly Level[],
  deepest: Decimal,
  own: ReadonlyMap<string, string>,
): LadderRow[] {
  let total = 0n;
  return levels.map(([price, qty]) => {
    total += parse(qty) ?? 0n;
    const share = deepest > 0n ? Number((total * 1000n) / deepest) / 10 : 0;
    return { price, qty, total: toText(total), share, own: own.get(price) ?? null };
  });
}

function sum(levels: readonly Level[]): Decimal {
  return levels.reduce((total, [, qty]) => total + (parse(qty) ?? 0n), 0n);
}

export interface Spread {
  value: Decimal;
  /** Hundredths of a percent of the price in the middle. */
  basisPoints: Decimal;
}

/** Between the best bid and the best ask; null where a side is empty. */
export function spreadOf(book: Pick<Book, 'bids' | 'asks'>): Spread | null {
  const [bid, ask] = [parse(book.bids[0]?.[0]), parse(book.asks[0]?.[0])];
  if (bid === null || ask === null) return null;
  const value = ask - bid;
  const middle = (ask + bid) / 2n;
  return { value, basisPoints: middle > 0n ? (value * 10_000n * 1_000_000_000n) / middle : 0n };
}

/** A corner of the depth curve; plain numbers, for drawing only. */
export interface DepthPoint {
  price: number;
  total: number;
}

/** What stands at a price or better, from the best price outwards. */
export function cumulate(levels: readonly Level[]): DepthPoint[] {
  let total = 0n;
  return levels.map(([price, qty]) => {
    total += parse(qty) ?? 0n;
    return { price: Number(price), total: Number(toText(total)) };
  });
}

/** The curves of both sides as SVG paths in a box, and what its edges mean. */
export interface DepthPicture {
  bids: string;
  asks: string;
  low: number;
  high: number;
  most: number;
}

/** Draw both curves around the middle, each side as wide as the narrower one is deep. */
export function picture(
  bids: readonly DepthPoint[],
  asks: readonly DepthPoint[],
  width: number,
  height: number,
): DepthPicture | null {
  const [bid, ask, bidEnd, askEnd] = [bids[0], asks[0], bids.at(-1), asks.at(-1)];
  if (!bid || !ask || !bidEnd || !askEnd) return null;
  const middle = (bid.price + ask.price) / 2;
  const reach = Math.max(Math.min(middle - bidEnd.price, askEnd.price - middle), ask.price - middle);
  const [low, high] = [middle - reach, middle + reach];
  const inside = (point: DepthPoint) => point.price >= low && point.price <= high;
  const [left, right] = [bids.filter(inside), asks.filter(inside)];
  const most = Math.max(left.at(-1)?.total ?? 0, right.at(-1)?.total ?? 0, Number.MIN_VALUE);
  const x = (price: number) => (((price - low) / (high - low)) * width).toFixed(1);
  const y = (total: number) => (height - (total / most) * height * 0.92).toFixed(1);
  const steps = (points: DepthPoint[], edge: number) => {
    const first = points[0];
    if (!first) return '';
    const corners = points.map(({ price, total }) => `H${x(price)}V${y(total)}`).join('');
    return `M${x(first.price)} ${height}${corners}H${x(edge)}V${height}Z`;
  };
  return { bids: steps(left, low), asks: steps(right, high), low, high, most };
}
