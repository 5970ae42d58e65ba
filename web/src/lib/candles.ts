/**
 * The candles of one symbol and interval: history from the server, then trade by trade. Pure.
 *
 * Invariant: `trade` is the last trade that is counted, and the newest candle holds exactly the
 * trades up to it. So a trade at or before it changes nothing, and after a hole in the trades the
 * candles are asked for anew.
 */
import { parse, toText } from './decimal';
import type { BarRow, BarsAnswer, Interval, Trade } from './messages';

export const INTERVALS: readonly (readonly [Interval, seconds: number])[] = [
  ['1Min', 60],
  ['5Min', 300],
  ['15Min', 900],
  ['1Hour', 3_600],
  ['1Day', 86_400],
];

/** What a trade did: nothing, grew the newest candle, began one, or passed the end of the day. */
export type Step = 'known' | 'grown' | 'begun' | 'past';

export class Candles {
  private rows: BarRow[];
  private counted: number;

  constructor(
    readonly answer: BarsAnswer,
    private readonly seconds = secondsOf(answer.timeframe),
  ) {
    this.rows = answer.bars;
    this.counted = answer.trade;
  }

  /** Oldest first. */
  get bars(): readonly BarRow[] {
    return this.rows;
  }

  get newest(): BarRow | null {
    return this.rows.at(-1) ?? null;
  }

  /** The last trade that is counted. */
  get trade(): number {
    return this.counted;
  }

  /** Count a trade; where it is `past`, nothing was done and the candles must be asked for anew. */
  add(trade: Trade): Step {
    if (trade.id <= this.counted) return 'known';
    const [dayStart, dayEnd] = this.answer.day;
    const at = secondOf(trade.t);
    // Where days begin is the server's to say.
    if (dayStart === undefined || dayEnd === undefined || at >= dayEnd) return 'past';
    const start = at - ((at - dayStart) % this.seconds);
    const begin = this.answer.timeframe === '1Day' ? dayStart : start;
    this.counted = trade.id;
    const last = this.newest;
    if (last && last.t >= begin) {
      this.rows[this.rows.length - 1] = grown(last, trade);
      return 'grown';
    }
    this.rows.push(fresh(begin, trade));
    return 'begun';
  }

  /** Put an older page before what is held. */
  prepend(older: readonly BarRow[]): void {
    const first = this.rows[0];
    this.rows = [...older.filter((row) => !first || row.t < first.t), ...this.rows];
  }
}

function secondsOf(interval: Interval): number {
  return INTERVALS.find(([name]) => name === interval)?.[1] ?? 60;
}

/** Whole seconds since the epoch of an RFC 3339 instant in UTC, of any precision. */
export function secondOf(instant: string): number {
  return Date.parse(`${instant.slice(0, 19)}Z`) / 1000;
}

function fresh(begin: number, { price, qty }: Trade): BarRow {
  return { t: begin, o: price, h: price, l: price, c: price, v: qty, n: 1, vw: price };
}

function grown(bar: BarRow, { price, qty }: Trade): BarRow {
  return {
    ...bar,
    h: above(price, bar.h) ? price : bar.h,
    l: above(bar.l, price) ? price : bar.l,
    c: price,
    v: toText((parse(bar.v) ?? 0n) + (parse(qty) ?? 0n)),
    n: bar.n + 1,
  };
}

function above(a: string, b: string): boolean {
  return (parse(a) ?? 0n) > (parse(b) ?? 0n);
}
