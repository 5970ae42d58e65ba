import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ApiRefusal, ApiUnreachable, placeOrder, session, signOut } from './api';
import type { OrderRequest } from './ticket';

const REQUEST: OrderRequest = {
  symbol: 'KIM',
  side: 'buy',
  type: 'market',
  time_in_force: 'day',
  client_order_id: 'one of a kind',
  qty: '1',
};

type Answer = { status: number; body?: unknown } | 'lost';
let answers: Answer[];
let asked: { method: string; path: string; headers: Record<string, string> }[];

beforeEach(() => {
  asked = [];
  vi.useFakeTimers();
  vi.stubGlobal('fetch', (path: string, init: RequestInit) => {
    asked.push({
      method: init.method ?? 'GET',
      path,
      headers: init.headers as Record<string, string>,
    });
    const answer = answers.shift();
    if (answer === undefined || answer === 'lost') return Promise.reject(new TypeError('lost'));
    const text = answer.body === undefined ? null : JSON.stringify(answer.body);
    return Promise.resolve(new Response(text, { status: answer.status }));
  });
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

async function outcome(promise: Promise<unknown>): Promise<unknown> {
  const settled = promise.then(
    (value) => value,
    (error: unknown) => error,
  );
  await vi.runAllTimersAsync();
  return settled;
}

describe('placeOrder', () => {
  it('gives the order back', async () => {
    answers = [{ status: 200, body: { id: 'a' } }];
    expect(await outcome(placeOrder(REQUEST))).toEqual({ id: 'a' });
    expect(asked).toHaveLength(1);
  });

  it('gives a refusal in the words of the server, and asks no more', async () => {
    answers = [{ status: 403, body: { code: 40310000, message: 'insufficient buying power' } }];
    const refusal = await outcome(placeOrder(REQUEST));
    expect(refusal).toBeInstanceOf(ApiRefusal);
    expect(refusal).toMatchObject({
      status: 403,
      code: 40310000,
      message: 'insufficient buying power',
    });
    expect(asked).toHaveLength(1);
  });

  it('takes a 503 that is a definite no for what it is', async () => {
    answers = [{ status: 503, body: { code: 50310000, message: 'the disk is full' } }];
    expect(await outcome(placeOrder(REQUEST))).toBeInstanceOf(ApiRefusal);
  });

  it.each<[string, Answer]>([
    ['lost', 'lost'],
    ['unknown to the server', { status: 503, body: { message: 'Outcome unknown, ask again' } }],
    ['swallowed by a balancer', { status: 504 }],
  ])('looks the order up by its own id when the answer is %s', async (_, answer) => {
    answers = [answer, 'lost', { status: 404, body: {} }, { status: 200, body: { id: 'a' } }];
    expect(await outcome(placeOrder(REQUEST))).toEqual({ id: 'a' });
    expect(asked.map(({ method }) => method)).toEqual(['POST', 'GET', 'GET', 'GET']);
    expect(asked[3]?.path).toBe('/v2/orders:by_client_order_id?client_order_id=one%20of%20a%20kind');
  });

  it('never sends an order twice, and says in the end that nobody knows', async () => {
    answers = [];
    expect(await outcome(placeOrder(REQUEST))).toBeInstanceOf(ApiUnreachable);
    expect(asked.filter(({ method }) => method === 'POST')).toHaveLength(1);
  });
});

describe('session', () => {
  it('is null for a visitor, and an error where nobody knows', async () => {
    document.cookie = 'madang_csrf=; Max-Age=0';
    expect(await outcome(session())).toBeNull();
    expect(asked).toEqual([]); // no hint of a session, so no question
    document.cookie = 'madang_csrf=token';
    answers = [{ status: 401, body: { code: 40110000, message: 'unauthorized' } }, 'lost'];
    expect(await outcome(session())).toBeNull();
    expect(await outcome(session())).toBeInstanceOf(ApiUnreachable);
  });

  it('carries the CSRF token back on unsafe methods only', async () => {
    document.cookie = 'madang_csrf=a%2Fb';
    answers = [{ status: 204 }, { status: 200, body: {} }];
    await outcome(signOut());
    await outcome(session());
    expect(asked.map(({ headers }) => headers['X-CSRF-Token'])).toEqual(['a/b', undefined]);
  });
});
