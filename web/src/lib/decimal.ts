/**
 * Exact decimals for money, prices and quantities.
 *
 * A value is a bigint that counts billionths (the finest unit of the venue, a billionth of a share).
 * No number with a fraction ever becomes a JavaScript `number` on its way to the screen or the API.
 */
export type Decimal = bigint;

export const PLACES = 9;
export const ONE: Decimal = 10n ** BigInt(PLACES);

/** Towards zero, away from it, or to whichever is nearer. */
export type Rounding = 'up' | 'down' | 'near';

/** The sign of what people read; the API's is a hyphen. */
export const MINUS = '\u2212';

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

/** Round to `places` decimals; `near` takes a tie away from zero. */
export function round(value: Decimal, places: number, rounding: Rounding): Decimal {
  const unit = 10n ** BigInt(PLACES - places);
  return quotient(value, unit, rounding) * unit;
}

/** A part of a whole above zero in percent, rounded once to the two decimals that are shown. */
export function percentOf(part: Decimal | null, whole: Decimal | null): Decimal | null {
  if (part === null || whole === null || whole <= 0n) return null;
  return quotient(part * 10_000n, whole, 'near') * (ONE / 100n);
}

/** Plain text without grouping, as the API takes it: no zeros behind the first `least` decimals. */
export function toText(value: Decimal, least = 0): string {
  const text = digits(value, least, PLACES);
  return value < 0n ? `-${text}` : text;
}

/** Text for people: grouped, rounded, at least `least` and at most `most` decimals. */
export function format(value: Decimal, least: number, most: number): string {
  const shown = round(value, most, 'near');
  const [whole = '', fraction] = digits(shown, least, most).split('.');
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ',');
  const text = fraction ? `${grouped}.${fraction}` : grouped;
  return shown < 0n ? MINUS + text : text;
}

/** The digits of a value without its sign. */
function digits(value: Decimal, least: number, most: number): string {
  const size = value < 0n ? -value : value;
  const all = (size % ONE).toString().padStart(PLACES, '0').slice(0, most);
  const fraction = all.slice(0, least) + all.slice(least).replace(/0+$/, '');
  const whole = (size / ONE).toString();
  return fraction ? `${whole}.${fraction}` : whole;
}

function quotient(dividend: bigint, divisor: bigint, rounding: Rounding): bigint {
  const result = dividend / divisor;
  const rest = dividend % divisor;
  const size = rest < 0n ? -rest : rest;
  const away = rounding === 'near' ? size * 2n >= divisor : rounding === 'up' && rest !== 0n;
  if (!away) return result;
  return dividend < 0n ? result - 1n : result + 1n;
}
