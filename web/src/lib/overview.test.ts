import { describe, expect, it } from 'vitest';
import {
  directionOf,
  mostActive,
  movers,
  nextOrder,
  percentOfRow,
  polyline,
  search,
  signed,
  sortRows,
  take,
  type OverviewRow,
} from './overview';

function row(symbol: string, fields: Partial<OverviewRow> = {}): OverviewRow {
  return {
    symbol,
    name: `${symbol} Inc.`,
    session: 'open',
    last: null,
    change: null,
    change_percent: null,
    volume: null,
    trades: null,
    line: [],
    ...fields,
  };
}

const ROWS = [
  row('B', { last: '9.5', change: '0.5', change_percent: '5.55', volume: '100', trades: 9 }),
  row('A', { last: '10', change: '-0.001', change_percent: '0', volume: '20', trades: 10 }),
  row('D'),
  row('C', { last: '10', change: '-2', change_percent: '-16.66', volume: '100', trades: 2 }),
];
const symbols = (rows: readonly OverviewRow[]) => rows.map(({ symbol }) => symbol).join('');

describe('sorting', () => {
  it('compares numbers as numbers, unknown ones last either way, equals by symbol', () => {
    expect(symbols(sortRows(ROWS, { column: 'last', descending: true }))).toBe('ACBD');
    expect(symbols(sortRows(ROWS, { column: 'last', descending: false }))).toBe('BACD');
    expect(symbols(sortRows(ROWS, { column: 'trades', descending: true }))).toBe('ABCD');
    expect(symbols(sortRows(ROWS, { column: 'symbol', descending: true }))).toBe('DCBA');
    expect(symbols(ROWS)).toBe('BADC');
  });

  it('turns round when the same column is chosen again', () => {
    const first = nextOrder({ column: 'symbol', descending: false }, 'volume');
    expect(first).toEqual({ column: 'volume', descending: true });
    expect(nextOrder(first, 'volume').descending).toBe(false);
    expect(nextOrder(first, 'symbol')).toEqual({ column: 'symbol', descending: false });
  });
});

describe('percentOfRow', () => {
  it('is that of the price before the change', () => {
    expect(percentOfRow({ last: '232.88', change: '4.70', change_percent: '2.05' })).toBe('2.06');
    expect(percentOfRow({ last: null, change: '4.70', change_percent: '2.05' })).toBe('2.05');
    expect(percentOfRow({ last: null, change: null, change_percent: null })).toBeNull();
  });
});

describe('movers', () => {
  it('rank by percent, and what moved by less than the percent shows still fell', () => {
    expect(symbols(movers(ROWS, 'up', 5))).toBe('B');
    expect(symbols(movers(ROWS, 'down', 5))).toBe('CA');
    expect(symbols(movers(ROWS, 'down', 1))).toBe('C');
    expect(symbols(mostActive(ROWS, 5))).toBe('BCA');
  });
});

describe('signs', () => {
  it('are there for whoever sees no colour', () => {
    expect(['1.20', '\u22120.35', '0.00'].map(signed)).toEqual(['+1.20', '\u22120.35', '0.00']);
    expect(['1', '-0.001', '0', null].map(directionOf)).toEqual(['up', 'down', '', '']);
  });
});

describe('search', () => {
  it('puts symbols before names and beginnings before the rest', () => {
    const rows = [row('AMZN', { name: 'Amazon' }), row('META', { name: 'Meta' }), row('M', { name: 'Macy' })];
    expect(search(rows, 'm', 9).map(({ symbol }) => symbol)).toEqual(['M', 'META', 'AMZN']);
    expect(search(rows, ' AMA ', 9).map(({ symbol }) => symbol)).toEqual(['AMZN']);
    expect(search(rows, '', 2)).toHaveLength(2);
    expect(search(rows, 'zz', 9)).toEqual([]);
  });
});

describe('news', () => {
  it('change rows in place, go on with their lines and add what is new', () => {
    const before = [row('A', { last: '1', line: ['0.9', '1'] }), row('B')];
    const after = take(before, [row('A', { last: '2' }), row('C', { last: '5' })]);
    expect(symbols(after)).toBe('ABC');
    expect(after[0]).toMatchObject({ last: '2', line: ['0.9', '2'] });
    expect(after[1]).toBe(before[1]);
    expect(take(before, [])).toBe(before);
    expect(before[0]?.line).toEqual(['0.9', '1']);
  });
});

describe('polyline', () => {
  it('fills its box, and a flat one lies in the middle', () => {
    expect(polyline([1, 3, 2], 100, 10)).toBe('0.0,10.0 50.0,0.0 100.0,5.0');
    expect(polyline([2, 2], 100, 10)).toBe('0.0,5.0 100.0,5.0');
    expect(polyline([2], 100, 10)).toBe('');
  });
});
