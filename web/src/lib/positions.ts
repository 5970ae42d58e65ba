/** What a position is worth at a price, as the server computes it: value down to a millionth. Pure. */
import { multiply, parse, percentOf, round, toText } from './decimal';
import type { Position } from './messages';

const CASH_PLACES = 6;

export interface Worth {
  price: string | null;
  value: string | null;
  profit: string | null;
  /** Profit over cost, in percent with two decimals. */
  percent: string | null;
}

/** At `price`, or as the server said last where it is null. */
export function worthOf(position: Position, price: string | null): Worth {
  const [qty, at, cost] = [parse(position.qty), parse(price), parse(position.cost_basis)];
  if (qty === null || at === null || cost === null) {
    const { current_price, market_value, unrealized_pl } = position;
    const percent = inPercent(parse(unrealized_pl), cost);
    return { price: current_price, value: market_value, profit: unrealized_pl, percent };
  }
  const value = round(multiply(qty, at, 'down'), CASH_PLACES, 'down');
  const profit = value - cost;
  return {
    price,
    value: toText(value),
    profit: toText(profit),
    percent: inPercent(profit, cost),
  };
}

function inPercent(part: bigint | null, whole: bigint | null): string | null {
  const percent = percentOf(part, whole);
  return percent === null ? null : toText(percent);
}
