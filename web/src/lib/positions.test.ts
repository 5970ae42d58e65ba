import { describe, expect, it } from 'vitest';
import type { Position } from './messages';
import { worthOf } from './positions';

const HELD: Position = {
  symbol: 'KIM',
  qty: '3.3',
  side: 'long',
  avg_entry_price: '10.1',
  cost_basis: '33.33',
  market_value: '33',
  unrealized_pl: '-0.33',
  current_price: '10',
  qty_available: '3.3',
};

describe('worthOf', () => {
  it('is what the server said while no price is live', () => {
    expect(worthOf(HELD, null)).toEqual({ price: '10', value: '33', profit: '-0.33', percent: '-0.99' });
  });

  it('follows the price as the server would: value down to a millionth', () => {
    expect(worthOf(HELD, '10.1234')).toEqual({
      price: '10.1234',
      value: '33.40722',
      profit: '0.07722',
      percent: '0.23',
    });
    const third = { ...HELD, qty: '0.333333333', cost_basis: '1' };
    expect(worthOf(third, '9.9999').value).toBe('3.333299');
  });

  it('knows nothing where nobody has said a price', () => {
    const unpriced = { ...HELD, current_price: null, market_value: null, unrealized_pl: null };
    expect(worthOf(unpriced, null)).toEqual({ price: null, value: null, profit: null, percent: null });
  });
});
