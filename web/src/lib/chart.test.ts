import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ChartData, type Change } from './chart.svelte';
import { market, type TradesListener } from './market.svelte';
import type { BarRow, BarsAnswer, Trade } from './messages';

const DAY = 1_795_305_600;
const row = (t: number): BarRow => ({ t, o: '10', h: '10', l: '10', c: '10', v: '1', n: 1, vw: '10' });
const trade = (id: number, second: number): Trade => ({
  id,
  price: '11',
  qty: '1',
  side: 'buy',
  t: `${new Date((DAY + second) * 1000).toISOString().slice(0, 19)}Z`,
});

let asked: URLSearchParams[];
let answers: ((value: BarsAnswer) => void)[];
let hear: TradesListener;
let changes: Change[];
let data: ChartData;
let stop: () => void;

function answer(bars: BarRow[], last: number, more = false): BarsAnswer {
  const day = [DAY, DAY + 86_400];
  return { symbol: 'KIM', timeframe: '1Min', timezone: 'UTC', bars, trade: last, day, more };
}

async function reply(value: BarsAnswer): Promise<void> {
  answers.shift()!(value);
  await vi.advanceTimersByTimeAsync(0);
}

beforeEach(() => {
  vi.useFakeTimers();
  asked = [];
  answers = [];
  changes = [];
  vi.stubGlobal('fetch', (path: string) => {
    asked.push(new URL(path, 'http://x').searchParams);
    return new Promise<Response>((resolve) =>
      answers.push((value) => resolve(new Response(JSON.stringify(value)))),
    );
  });
  vi.spyOn(market, 'listen').mockImplementation((listener) => {
    hear = listener;
    return () => undefined;
  });
  data = new ChartData('KIM', '1Min', (change) => changes.push(change));
  stop = data.start();
});

afterEach(() => {
  stop();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe('ChartData', () => {
  it('asks once the stream has said its trades, and adds those that came meanwhile', async () => {
    hear([trade(7, 5)], true);
    hear([trade(9, 6)], false);
    await reply(answer([row(DAY)], 8));
    expect(asked).toHaveLength(1);
    expect(data.ready).toBe(true);
    expect([data.newest?.n, data.newest?.c]).toEqual([2, '11']);
    hear([trade(12, 61)], false);
    expect(data.bars.map((bar) => bar.t - DAY)).toEqual([0, 60]);
    expect(changes).toEqual(['newest', 'all', 'newest']);
  });

  it('does not wait for a stream that does not come', async () => {
    await vi.advanceTimersByTimeAsync(1_000);
    expect(asked).toHaveLength(1);
    await reply(answer([row(DAY)], 8));
    expect(data.ready).toBe(true);
  });

  it('asks anew when trades may be missing, and goes on when none is', async () => {
    hear([trade(7, 5)], true);
    await reply(answer([row(DAY)], 7));
    hear([trade(7, 5), trade(8, 6)], true);
    expect([asked.length, data.newest?.n]).toEqual([1, 2]);
    hear([trade(20, 70), trade(21, 71)], true);
    expect([asked.length, data.ready]).toEqual([2, false]);
    await reply(answer([row(DAY), { ...row(DAY + 60), n: 9 }], 21));
    hear([trade(22, 72)], false);
    expect([data.ready, data.newest?.n]).toEqual([true, 10]);
  });

  it('does not believe an answer that is older than what was heard', async () => {
    hear([trade(7, 5)], true);
    await reply(answer([row(DAY)], 6));
    expect(data.ready).toBe(false);
    await vi.advanceTimersByTimeAsync(2_000);
    await reply(answer([row(DAY)], 7));
    expect(data.ready).toBe(true);
  });

  it('asks anew when the day is over', async () => {
    hear([trade(7, 5)], true);
    await reply(answer([row(DAY)], 7));
    hear([trade(8, 86_400)], false);
    expect([asked.length, data.ready]).toEqual([2, false]);
  });

  it('loads older candles before what it has, one question at a time, until there are none', async () => {
    hear([trade(7, 200)], true);
    await reply(answer([row(DAY + 180)], 7, true));
    void data.loadMore();
    void data.loadMore();
    expect(asked).toHaveLength(2);
    expect(asked[1]?.get('end')).toBe(new Date((DAY + 180) * 1000).toISOString());
    await reply(answer([row(DAY), row(DAY + 60)], 7));
    expect(data.bars.map((bar) => bar.t - DAY)).toEqual([0, 60, 180]);
    expect(changes.at(-1)).toBe('older');
    await data.loadMore();
    expect(asked).toHaveLength(2);
  });
});
