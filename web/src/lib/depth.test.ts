import { describe, expect, it } from 'vitest';
import { parse, toText } from './decimal';
import { bookOf, cumulate, follow, ladder, picture, spreadOf, type Book } from './depth';
import vectors from '../../../tests/vectors/page_stream.json';
import type { BookFrame, ChangeFrame, Level } from './messages';

const BOOK: Book = bookOf({
  type: 'book',
  symbol: 'KIM',
  sequence: 7,
  bids: [
    ['99.5', '2'],
    ['99', '1.5'],
  ],
  asks: [
    ['100', '1'],
    ['101.25', '4'],
  ],
});
const change = (fields: Partial<ChangeFrame>): ChangeFrame => ({
  type: 'change',
  symbol: 'KIM',
  previous: 7,
  sequence: 9,
  bids: [],
  asks: [],
  ...fields,
});
const NONE = { buy: new Map<string, string>(), sell: new Map<string, string>() };

describe('follow', () => {
  it('puts levels in their place, changes them and takes them away', () => {
    const after = follow(BOOK, change({ bids: [['99.75', '3'], ['99', '0'], ['9.9', '1']], asks: [['100', '5']] }));
    expect(after).toEqual({
      sequence: 9,
      bids: [['99.75', '3'], ['99.5', '2'], ['9.9', '1']],
      asks: [['100', '5'], ['101.25', '4']],
    });
  });

  it('does with what the server says what the protocol says', () => {
    const book = bookOf(vectors.book as unknown as BookFrame);
    expect(follow(book, vectors.change as unknown as ChangeFrame)).toEqual(vectors.after);
  });

  it('takes no change that leads on from elsewhere', () => {
    expect(follow(BOOK, change({ previous: 8 }))).toBeNull();
    expect(follow(BOOK, change({ previous: 6, sequence: 9 }))).toBeNull();
  });

  it('passes over what the book has already', () => {
    expect(follow(BOOK, change({ previous: 5, sequence: 7 }))).toBe(BOOK);
  });

  it('comes to the same as the book it is told of, whatever the path', () => {
    let seed = 11;
    const random = (below: number) => (seed = (seed * 48_271) % 2_147_483_647) % below;
    let book: Book = { sequence: 0, bids: [], asks: [] };
    const truth = { bids: new Map<number, number>(), asks: new Map<number, number>() };
    for (let sequence = 1; sequence < 400; sequence++) {
      const sides: { bids: Level[]; asks: Level[] } = { bids: [], asks: [] };
      for (const side of ['bids', 'asks'] as const) {
        const [cents, qty] = [9_000 + random(60) + (side === 'asks' ? 100 : 0), random(4)];
        truth[side].set(cents, qty);
        sides[side].push([toText(BigInt(cents) * 10_000_000n), String(qty)]);
      }
      book = follow(book, change({ previous: sequence - 1, sequence, ...sides }))!;
    }
    for (const side of ['bids', 'asks'] as const) {
      const order = side === 'bids' ? -1 : 1;
      const wanted = [...truth[side]].filter(([, qty]) => qty > 0).sort((a, b) => (a[0] - b[0]) * order);
      const found = book[side].map(([price, qty]) => [Number(parse(price)! / 10_000_000n), Number(qty)]);
      expect(found).toEqual(wanted);
    }
  });
});

describe('ladder', () => {
  it('adds up from the best price and compares with the deeper side', () => {
    const rows = ladder(BOOK.bids, BOOK.asks, 10, { ...NONE, sell: new Map([['101.25', '4']]) });
    expect(rows.bids.map((row) => row.total)).toEqual(['2', '3.5']);
    expect(rows.asks.map((row) => row.share)).toEqual([20, 100]);
    expect(rows.asks.map((row) => row.own)).toEqual([null, '4']);
  });

  it('counts only the levels that are shown', () => {
    const rows = ladder(BOOK.bids, BOOK.asks, 1, NONE);
    expect(rows.bids).toHaveLength(1);
    expect([rows.bids[0]?.share, rows.asks[0]?.share]).toEqual([100, 50]);
  });
});

describe('spreadOf', () => {
  it('is exact, and nothing where a side is empty', () => {
    const spread = spreadOf(BOOK);
    expect(spread && toText(spread.value)).toBe('0.5');
    expect(spread && spread.basisPoints / 1_000_000_000n).toBe(50n);
    expect(spreadOf({ bids: [], asks: BOOK.asks })).toBeNull();
  });
});

describe('depth chart', () => {
  it('adds up outwards', () => {
    expect(cumulate(BOOK.bids)).toEqual([
      { price: 99.5, total: 2 },
      { price: 99, total: 3.5 },
    ]);
  });

  it('is as wide on both sides of the middle and drawn inside its box', () => {
    const drawn = picture(cumulate(BOOK.bids), cumulate(BOOK.asks), 300, 100)!;
    expect([drawn.low, drawn.high]).toEqual([99, 100.5]);
    expect(drawn.most).toBe(3.5);
    const numbers = `${drawn.bids}${drawn.asks}`.match(/[\d.]+/g)!.map(Number);
    expect(Math.max(...numbers)).toBeLessThanOrEqual(300);
    expect(drawn.bids.startsWith('M100.0 100H100.0V')).toBe(true);
  });

  it('draws nothing where a side is empty', () => {
    expect(picture([], cumulate(BOOK.asks), 300, 100)).toBeNull();
  });
});
