import { describe, expect, it } from 'vitest';
import { parse, toText } from './decimal';
import type { Level } from './messages';
import { estimate, stepPrice, toRequest, wrongFields, type Draft } from './ticket';

const BASE: Draft = {
  side: 'buy',
  type: 'limit',
  timeInForce: 'day',
  by: 'qty',
  amount: '10',
  limitPrice: '100.5',
  stopPrice: '',
};
const draft = (change: Partial<Draft>): Draft => ({ ...BASE, ...change });
const TICK = parse('0.05') ?? 0n;

const ASKS: Level[] = [
  ['100.10', '5'],
  ['100.20', '10'],
];

function inText(change: Partial<Draft>, levels = ASKS) {
  const found = estimate(draft(change), levels);
  return found && { cash: toText(found.cash), qty: toText(found.qty), partial: found.partial };
}

describe('wrongFields', () => {
  const names = (draft: Draft) => wrongFields(draft).map(({ field }) => field);

  it('names what holds no positive number', () => {
    expect(names(BASE)).toEqual([]);
    expect(wrongFields(draft({ amount: '' }))).toEqual([{ field: 'amount', why: 'needPositive' }]);
    expect(names(draft({ amount: '-1', limitPrice: 'x' }))).toEqual(['amount', 'limitPrice']);
    expect(names(draft({ type: 'stop_limit' }))).toEqual(['stopPrice']);
  });

  it('asks only for what the type needs', () => {
    expect(wrongFields(draft({ type: 'market', limitPrice: '' }))).toEqual([]);
    expect(wrongFields(draft({ type: 'stop', limitPrice: '', stopPrice: '9' }))).toEqual([]);
  });
});

describe('toRequest', () => {
  it('sends exactly the fields of the type, as plain decimal text', () => {
    expect(toRequest(draft({ amount: '1,000.50' }), 'KIM', 'id-1')).toEqual({
      symbol: 'KIM',
      side: 'buy',
      type: 'limit',
      time_in_force: 'day',
      client_order_id: 'id-1',
      qty: '1000.5',
      limit_price: '100.5',
    });
    expect(
      toRequest(
        draft({ type: 'market', by: 'notional', amount: '250', side: 'sell', stopPrice: '1' }),
        'KIM',
        'id-2',
      ),
    ).toEqual({
      symbol: 'KIM',
      side: 'sell',
      type: 'market',
      time_in_force: 'day',
      client_order_id: 'id-2',
      notional: '250',
    });
    expect(toRequest(draft({ type: 'stop_limit', stopPrice: '99' }), 'KIM', 'x')).toMatchObject({
      stop_price: '99',
      limit_price: '100.5',
    });
  });
});

describe('estimate', () => {
  it('is price times quantity with a limit', () => {
    expect(inText({})).toEqual({ cash: '1005', qty: '10', partial: false });
  });

  it('rounds against the trader: a cost up, proceeds down, to six decimals', () => {
    const odd = { amount: '0.0000001', limitPrice: '0.3333' };
    expect(inText({ ...odd, side: 'buy' })?.cash).toBe('0.000001');
    expect(inText({ ...odd, side: 'sell' })?.cash).toBe('0');
  });

  it('walks the book for a market order', () => {
    expect(inText({ type: 'market', amount: '7' })).toEqual({
      cash: '700.9',
      qty: '7',
      partial: false,
    });
  });

  it('says when the visible book is not deep enough', () => {
    expect(inText({ type: 'market', amount: '20' })).toEqual({
      cash: '1502.5',
      qty: '20',
      partial: true,
    });
    expect(inText({ type: 'market' }, [])).toBeNull();
  });

  it('tells how many shares an amount buys', () => {
    expect(inText({ type: 'market', by: 'notional', amount: '600.60' })).toMatchObject({
      cash: '600.6',
      qty: '5.999001996',
    });
    expect(inText({ by: 'notional', amount: '201' })).toMatchObject({ cash: '201', qty: '2' });
  });

  it('takes the stop price of a stop order', () => {
    expect(inText({ type: 'stop', stopPrice: '50' })?.cash).toBe('500');
  });

  it('says nothing about what is not filled in', () => {
    expect(inText({ amount: '' })).toBeNull();
    expect(inText({ limitPrice: 'abc' })).toBeNull();
  });
});

describe('stepPrice', () => {
  it('moves along the tick grid', () => {
    expect(stepPrice('100', TICK, 1, null)).toBe('100.05');
    expect(stepPrice('100.02', TICK, 1, null)).toBe('100.05');
    expect(stepPrice('100', TICK, -10, null)).toBe('99.5');
  });

  it('starts from the market when empty and stays above zero', () => {
    expect(stepPrice('', TICK, 1, '20')).toBe('20.05');
    expect(stepPrice('', TICK, 1, null)).toBe('');
    expect(stepPrice('0.05', TICK, -1, null)).toBe('0.05');
  });
});
