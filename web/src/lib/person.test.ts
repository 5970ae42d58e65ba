import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ApiRefusal, ApiUnreachable } from './api';
import { nearest, plain, pointsOf, scaleOf } from './curve';
import { words } from './language.svelte';
import { problemText, signUp } from './person';
import { nextPath, toPage } from './router.svelte';

describe('a try to sign up', () => {
  let sent: { request_id: string; invitation?: string }[];
  let statuses: number[];

  beforeEach(() => {
    localStorage.clear();
    sent = [];
    vi.stubGlobal('fetch', (_path: string, init: RequestInit) => {
      sent.push(JSON.parse(String(init.body)) as { request_id: string });
      const status = statuses.shift() ?? 0;
      if (status === 0) return Promise.reject(new TypeError('lost'));
      return Promise.resolve(new Response(status === 201 ? null : '{"message":"no"}', { status }));
    });
  });

  afterEach(() => vi.unstubAllGlobals());

  it('keeps its id until it has ended well, and the next has another', async () => {
    statuses = [0, 422, 201, 201];
    await expect(signUp('kim', 'secret', '')).rejects.toBeInstanceOf(ApiUnreachable);
    await expect(signUp('kim', 'secret', '')).rejects.toBeInstanceOf(ApiRefusal);
    await signUp('lee', 'secret', 'MI1');
    await signUp('park', 'secret', '');
    const ids = sent.map(({ request_id }) => request_id);
    expect(ids[0]).toMatch(/^[0-9a-f]{32}$/);
    expect([ids[1], ids[2]]).toEqual([ids[0], ids[0]]);
    expect(ids[3]).not.toBe(ids[0]);
    expect(sent.map(({ invitation }) => invitation)).toEqual([undefined, undefined, 'MI1', undefined]);
  });
});

describe('problems', () => {
  it('are said in words that fit', () => {
    words.choose('en');
    expect(problemText(new ApiRefusal(401, 0, 'unauthorized'), 'wrong')).toBe('wrong');
    expect(problemText(new ApiRefusal(429, 0, 'too many'), 'wrong')).toContain('Too many tries');
    expect(problemText(new ApiRefusal(422, 0, 'as it came'), 'wrong')).toBe('as it came');
    expect(problemText(new ApiUnreachable('lost'), 'wrong')).toContain('No answer');
    words.choose('ko');
    const taken = 'this name is not available, choose another';
    expect(problemText(new ApiRefusal(422, 0, taken), '')).toContain('쓸 수 없는 이름');
    words.choose('en');
  });
});

describe('paths', () => {
  it('lead to the sections of the account', () => {
    expect(toPage('/account')).toEqual({ name: 'account', section: 'overview' });
    expect(toPage('/account/keys/')).toEqual({ name: 'account', section: 'keys' });
    expect(toPage('/account/nothing')).toEqual({ name: 'missing' });
    expect(toPage('/signup')).toEqual({ name: 'signup' });
  });

  it('after signing in never lead away from here', () => {
    expect(nextPath('?next=/trade/KIM')).toBe('/trade/KIM');
    for (const bad of ['', '?next=//evil.example', '?next=https://evil.example', '?next=/\\evil', '?next=/x']) {
      expect(nextPath(bad)).toBe('/account');
    }
  });
});

describe('the curve', () => {
  const curve = (equity: number[]) => ({
    timestamp: equity.map((_, i) => i * 60),
    equity,
    profit_loss: equity.map(() => 0),
    base_value: 0,
    timeframe: '1Min',
  });

  it('begins with the first money', () => {
    expect(pointsOf(curve([0, 0, 100.25, 0])).map(({ equity }) => equity)).toEqual(['100.25', '0']);
    expect(pointsOf(curve([0, 0]))).toEqual([]);
  });

  it('shows the digits that came', () => {
    expect([plain(123456789.123456), plain(0.0000001), plain(-5)]).toEqual(['123456789.123456', '0.000000', '-5']);
  });

  it('has round lines between its ends, also when flat', () => {
    for (const values of [[99_990, 100_010], [5, 5], [0, 0], [-3, 1_000_000]]) {
      const { low, high, ticks } = scaleOf(values, 4);
      expect(low).toBeLessThan(Math.min(...values));
      expect(high).toBeGreaterThan(Math.max(...values));
      expect(ticks.length).toBeGreaterThan(0);
      expect(ticks.length).toBeLessThan(8);
      expect(ticks.every((tick) => tick >= low && tick <= high)).toBe(true);
    }
  });

  it('finds the point under the pointer', () => {
    const points = pointsOf(curve([1, 2, 3]));
    expect([-1, 0, 0.3, 0.9, 7].map((share) => nearest(points, share))).toEqual([0, 0, 1, 2, 2]);
  });
});
