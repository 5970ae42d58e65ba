/** The market at a glance: rows of the overview, how they are sorted, and the line of a day. Pure. */
import { MINUS, parse, percentOf, toText, type Decimal } from './decimal';
import type { MarketSession } from './messages';

export interface OverviewRow {
  symbol: string;
  name: string;
  session: MarketSession | null;
  last: string | null;
  change: string | null;
  change_percent: string | null;
  volume: string | null;
  trades: number | null;
  line: readonly string[];
}

export type Column = 'symbol' | 'last' | 'change' | 'change_percent' | 'volume' | 'trades';
export interface Order {
  column: Column;
  descending: boolean;
}

/** Rising, falling, or neither. */
export type Direction = 'up' | 'down' | '';

export function directionOf(change: string | null): Direction {
  const value = parse(change) ?? 0n;
  return value > 0n ? 'up' : value < 0n ? 'down' : '';
}

/** A row's change in percent of what the price was before it; the server's where that is not known. */
export function percentOfRow(row: Pick<OverviewRow, 'last' | 'change' | 'change_percent'>): string | null {
  const [last, change] = [parse(row.last), parse(row.change)];
  const percent = last === null || change === null ? null : percentOf(change, last - change);
  return percent === null ? row.change_percent : toText(percent);
}

/** A shown change with its sign: `+1.20`, `−0.35`, `0.00`. */
export function signed(text: string): string {
  if (text.startsWith(MINUS)) return text;
  return /[1-9]/.test(text) ? `+${text}` : text;
}

/** Sort by a column; what is not known comes last in both directions, equals by symbol. */
export function sortRows(rows: readonly OverviewRow[], order: Order): OverviewRow[] {
  const turn = order.descending ? -1 : 1;
  return [...rows].sort((a, b) => {
    if (order.column === 'symbol') return turn * compareText(a.symbol, b.symbol);
    const [x, y] = [numberOf(a, order.column), numberOf(b, order.column)];
    if (x === y) return compareText(a.symbol, b.symbol);
    if (x === null) return 1;
    if (y === null) return -1;
    return x < y ? -turn : turn;
  });
}

/** Text columns begin at A, numbers at the greatest; the same column again turns round. */
export function nextOrder(order: Order, column: Column): Order {
  if (order.column === column) return { column, descending: !order.descending };
  return { column, descending: column !== 'symbol' };
}

/** The `most` that rose or fell most, in percent. */
export function movers(
  rows: readonly OverviewRow[],
  direction: 'up' | 'down',
  most: number,
): OverviewRow[] {
  const moved = rows.filter((row) => directionOf(row.change) === direction);
  return sortRows(moved, { column: 'change_percent', descending: direction === 'up' }).slice(0, most);
}

export function mostActive(rows: readonly OverviewRow[], most: number): OverviewRow[] {
  const traded = rows.filter((row) => (parse(row.volume) ?? 0n) > 0n);
  return sortRows(traded, { column: 'volume', descending: true }).slice(0, most);
}

/** Rows whose symbol or name has the text; those whose symbol begins with it come first. */
export function search<Row extends { symbol: string; name: string }>(
  rows: readonly Row[],
  text: string,
  most: number,
): Row[] {
  const wanted = text.trim().toLowerCase();
  const rank = (row: Row): number => {
    const [symbol, name] = [row.symbol.toLowerCase(), row.name.toLowerCase()];
    if (symbol === wanted) return 0;
    if (symbol.startsWith(wanted)) return 1;
    if (name.split(/\s+/).some((word) => word.startsWith(wanted))) return 2;
    return symbol.includes(wanted) || name.includes(wanted) ? 3 : 4;
  };
  return rows
    .filter((row) => rank(row) < 4)
    .sort((a, b) => rank(a) - rank(b) || compareText(a.symbol, b.symbol))
    .slice(0, most);
}

/** Take news: rows that changed. Lines go on with the last price; a new symbol is added. */
export function take(
  rows: readonly OverviewRow[],
  news: readonly OverviewRow[],
): readonly OverviewRow[] {
  if (news.length === 0) return rows;
  const changed = new Map(news.map((row) => [row.symbol, row]));
  const taken = rows.map((row) => {
    const fresh = changed.get(row.symbol);
    changed.delete(row.symbol);
    return fresh === undefined ? row : { ...fresh, line: goOn(row.line, fresh.last) };
  });
  return [...taken, ...changed.values()];
}

function goOn(line: readonly string[], last: string | null): readonly string[] {
  return last === null || line.length === 0 ? line : [...line.slice(0, -1), last];
}

/**
 * The points of a line as SVG draws them, in a box of `width` by `height`: positions on the screen,
 * so these may be floats. A line of one price lies in the middle.
 */
export function polyline(values: readonly number[], width: number, height: number): string {
  if (values.length < 2) return '';
  const low = Math.min(...values);
  const span = Math.max(...values) - low;
  return values
    .map((value, i) => {
      const x = (i / (values.length - 1)) * width;
      const y = span === 0 ? height / 2 : height - ((value - low) / span) * height;
      return `${x.toFixed(1)},${y.toFixed(1)}`;
    })
    .join(' ');
}

function numberOf(row: OverviewRow, column: Exclude<Column, 'symbol'>): Decimal | null {
  if (column === 'trades') return row.trades === null ? null : BigInt(row.trades);
  return parse(row[column]);
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
