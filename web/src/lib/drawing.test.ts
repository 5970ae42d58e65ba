import { TickMarkType, type Time } from 'lightweight-charts';
import { describe, expect, it } from 'vitest';
import { priceLines, tickFormatter, toVolume, type Look } from './drawing';
import type { BarRow, Order } from './messages';

const LOOK: Look = {
  up: 'rgb(1, 2, 3)',
  down: 'rgb(4, 5, 6)',
  ink: '',
  line: '',
  accent: '',
  language: 'en',
};

describe('tickFormatter', () => {
  it('marks the day at the midnight of the reader, whatever midnight in UTC is', () => {
    const mark = tickFormatter(false);
    const midnight = (new Date(2026, 10, 22).getTime() / 1000) as Time;
    const evening = (new Date(2026, 10, 21, 19).getTime() / 1000) as Time;
    expect(mark(midnight, TickMarkType.Time, 'en')).toBe('Nov 22');
    expect(mark(evening, TickMarkType.DayOfMonth, 'en')).toBe('19:00');
  });

  it('gives days the dates of the market', () => {
    const begin = Date.UTC(2026, 10, 21, 15) / 1000; // midnight in Seoul
    const mark = tickFormatter(true, 'Asia/Seoul');
    expect(mark(begin as Time, TickMarkType.DayOfMonth, 'en')).toBe('Nov 22');
  });
});

describe('what is drawn', () => {
  it('is the colour of the candle, seen through', () => {
    const bar: BarRow = { t: 0, o: '10', h: '10', l: '9', c: '9', v: '5', n: 1, vw: '9' };
    expect(toVolume(bar, LOOK).color).toBe('rgba(4, 5, 6, 0.32)');
    expect(toVolume({ ...bar, c: '10' }, LOOK).color).toBe('rgba(1, 2, 3, 0.32)');
  });

  it('has a line at each price of an order of the symbol, and no other', () => {
    const order = { symbol: 'KIM', side: 'buy', limit_price: '9', stop_price: '8' } as Order;
    const other = { ...order, symbol: 'LEE' };
    const market = { ...order, limit_price: null, stop_price: null };
    const text = { order: () => 'mine', average: '' };
    const lines = priceLines('KIM', [order, other, market], null, LOOK, text);
    expect(lines.map((line) => [line.price, line.title])).toEqual([[9, 'mine'], [8, 'mine']]);
  });
});
