import { describe, expect, it } from 'vitest';
import { Candles, secondOf } from './candles';
import type { BarRow, BarsAnswer, Interval, Trade } from './messages';

const DAY = 1_795_305_600; // a midnight
const row = (t: number, close = '10'): BarRow => ({ t, o: '10', h: '11', l: '9', c: close, v: '5', n: 2, vw: '10' });

function answer(timeframe: Interval, bars: BarRow[], trade = 50): BarsAnswer {
  const day = [DAY, DAY + 86_400];
  return { symbol: 'KIM', timeframe, timezone: 'UTC', bars, trade, day, more: false };
}

function trade(id: number, second: number, price: string, qty = '1'): Trade {
  const t = `${new Date((DAY + second) * 1000).toISOString().slice(0, 19)}.999999999Z`;
  return { id, price, qty, side: 'buy', t };
}

describe('Candles', () => {
  it('grows the newest candle by the trades after those that are counted', () => {
    const candles = new Candles(answer('1Min', [row(DAY), row(DAY + 60)]));
    expect(candles.add(trade(50, 61, '99'))).toBe('known');
    expect(candles.add(trade(51, 62, '12.5', '0.25'))).toBe('grown');
    expect(candles.add(trade(52, 119, '8'))).toBe('grown');
    expect(candles.add(trade(52, 119, '8'))).toBe('known');
    expect(candles.newest).toEqual({ ...row(DAY + 60), h: '12.5', l: '8', c: '8', v: '6.25', n: 4 });
    expect(candles.bars[0]).toEqual(row(DAY));
  });

  it('compares prices as numbers, not as text', () => {
    const candles = new Candles(answer('1Min', [row(DAY)]));
    candles.add(trade(51, 1, '101'));
    expect([candles.newest?.h, candles.newest?.l]).toEqual(['101', '9']);
  });

  it('begins a candle where the interval says, counted from the beginning of the day', () => {
    const candles = new Candles(answer('15Min', [row(DAY)]));
    expect(candles.add(trade(51, 31 * 60, '7', '3'))).toBe('begun');
    const begun = { t: DAY + 30 * 60, o: '7', h: '7', l: '7', c: '7', v: '3', n: 1, vw: '7' };
    expect(candles.newest).toEqual(begun);
    const half = { ...answer('1Hour', []), day: [DAY + 1_800, DAY + 88_200] };
    const shifted = new Candles(half);
    shifted.add(trade(51, 3_700, '7'));
    expect(shifted.newest?.t).toBe(DAY + 1_800);
  });

  it('keeps a day in one candle', () => {
    const candles = new Candles(answer('1Day', [row(DAY)]));
    expect(candles.add(trade(51, 86_399, '10'))).toBe('grown');
    expect(candles.bars).toHaveLength(1);
  });

  it('leaves the next day to the server, and what it does not know', () => {
    const candles = new Candles(answer('1Min', [row(DAY)]));
    expect(candles.add(trade(51, 86_400, '10'))).toBe('past');
    expect(candles.trade).toBe(50);
    expect(new Candles({ ...answer('1Min', [], 0), day: [] }).add(trade(1, 0, '1'))).toBe('past');
  });

  it('is the same whether trades come in the answer or after it', () => {
    const trades = Array.from({ length: 200 }, (_, i) => trade(51 + i, i * 7, String(10 + ((i * 37) % 11)), '0.1'));
    const all = new Candles(answer('5Min', [], 50));
    trades.forEach((one) => all.add(one));
    const half = new Candles(answer('5Min', [], 50));
    trades.slice(0, 77).forEach((one) => half.add(one));
    const rest = new Candles({ ...answer('5Min', [...half.bars]), trade: half.trade });
    trades.slice(40).forEach((one) => rest.add(one));
    expect(rest.bars).toEqual(all.bars);
  });

  it('puts older candles before, none twice', () => {
    const candles = new Candles(answer('1Min', [row(DAY + 120)]));
    candles.prepend([row(DAY), row(DAY + 60), row(DAY + 120)]);
    expect(candles.bars.map((bar) => bar.t - DAY)).toEqual([0, 60, 120]);
  });
});

describe('secondOf', () => {
  it('reads instants of any precision, and never rounds up', () => {
    expect(secondOf('2026-11-22T00:00:59.999999999Z')).toBe(DAY + 59);
    expect(secondOf('2026-11-22T00:01:00Z')).toBe(DAY + 60);
  });
});
