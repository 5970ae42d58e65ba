/**
 * Exact decimals for money, prices and quantities.
 *
 * A value is a bigint that counts billionths (the finest unit of the venue, a billionth of a share).
 * No number with a fraction ever becomes a JavaScript `number` on its way to the screen or the API.
 */
export type Decimal = bigint;

const PLACES = 9;
export const ONE: Decimal = 10n ** BigInt(PLACES);

const SHAPE = /^([+-]?)(\d*)(?:\.(\d*))?$/;
const LENGTH_MAX = 40;

/** Read decimal text; null when it is no number, or finer than a billionth. */
export function parse(text: string | null | undefined): Decimal | null {
  const found = text && text.length <= LENGTH_MAX ? SHAPE.exec(text.trim()) : null;
  if (!found) return null;
  const [, sign, whole = '', fraction = ''] = found;
  const digits = fraction.replace(/0+$/, '');
  if (whole + fraction === '' || digits.length > PLACES) return null;
  const value = BigInt(whole || '0') * ONE + BigInt(digits.padEnd(PLACES, '0'));
  return sign === '-' ? -value : value;
}

/** Multiply; the remainder goes up for what somebody pays and down for what somebody gets. */
export function multiply(a: Decimal, b: Decimal, rounding: 'up' | 'down'): Decimal {
  return quotient(a * b, ONE, rounding);
}

/** Divide, for `b` above zero. */
export function divide(a: Decimal, b: Decimal, rounding: 'up' | 'down'): Decimal {
  return quotient(a * ONE, b, rounding);
}

/** Round to `places` decimals. */
export function round(value: Decimal, places: number, rounding: 'up' | 'down'): Decimal {
  const unit = 10n ** BigInt(PLACES - places);
  return quotient(value, unit, rounding) * unit;
}

/** Plain text without grouping, as the API takes it: no trailing zeros. */
export function toText(value: Decimal): string {
  return format(value, 0, PLACES, false);
}

/** Text for people: grouped, at least `least` and at most `most` decimals (cut, never rounded up). */
export function format(value: Decimal, least: number, most: number, grouped = true): string {
  const size = value < 0n ? -value : value;
  const whole = (size / ONE).toString();
  const all = (size % ONE).toString().padStart(PLACES, '0').slice(0, most);
  const fraction = all.slice(0, least) + all.slice(least).replace(/0+$/, '');
  const left = grouped ? whole.replace(/\B(?=(\d{3})+$)/g, ',') : whole;
  const text = fraction ? `${left}.${fraction}` : left;
  return value < 0n && /[1-9]/.test(text) ? `-${text}` : text;
}

/** Towards zero, or away from it. */
function quotient(dividend: bigint, divisor: bigint, rounding: 'up' | 'down'): bigint {
  const result = dividend / divisor;
  if (rounding === 'down' || dividend % divisor === 0n) return result;
  return dividend < 0n ? result - 1n : result + 1n;
}
