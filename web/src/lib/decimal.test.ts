import { describe, expect, it } from 'vitest';
import { divide, format, MINUS, multiply, ONE, parse, percentOf, round, toText } from './decimal';

const exact = (text: string): bigint => {
  const value = parse(text);
  if (value === null) throw new Error(`not a decimal: ${text}`);
  return value;
};

describe('parse', () => {
  it('reads whole numbers, fractions and signs', () => {
    expect(parse('12')).toBe(12n * ONE);
    expect(parse('0.000000001')).toBe(1n);
    expect(parse('-1.5')).toBe((-15n * ONE) / 10n);
    expect(parse('.5')).toBe(ONE / 2n);
    expect(parse('7.')).toBe(7n * ONE);
    expect(parse('1.2300000000000')).toBe(exact('1.23'));
  });

  it.each(['', '.', '-', 'abc', '1e3', 'NaN', 'Infinity', '1,000', '1.0000000001', '9'.repeat(41)])(
    'refuses %j',
    (text) => expect(parse(text)).toBeNull(),
  );

  it('refuses what is not there', () => {
    expect(parse(null)).toBeNull();
    expect(parse(undefined)).toBeNull();
  });
});

describe('arithmetic', () => {
  it('is exact where floats are not', () => {
    expect(toText(exact('0.1') + exact('0.2'))).toBe('0.3');
    expect(toText(exact('136.2'), 2)).toBe('136.20');
    expect(toText(exact('136.2575'), 2)).toBe('136.2575');
    expect(toText(multiply(exact('70100.05'), exact('3'), 'up'))).toBe('210300.15');
    expect(toText(multiply(exact('9007199254740993'), exact('1'), 'up'))).toBe('9007199254740993');
  });

  it('rounds a cost up and proceeds down', () => {
    const product = [exact('0.000000001'), exact('0.5')] as const;
    expect(multiply(...product, 'up')).toBe(1n);
    expect(multiply(...product, 'down')).toBe(0n);
    expect(toText(round(exact('1.0000001'), 6, 'up'))).toBe('1.000001');
    expect(toText(round(exact('1.0000001'), 6, 'down'))).toBe('1');
    expect(toText(round(exact('-1.0000001'), 6, 'up'))).toBe('-1.000001');
  });

  it('divides to a billionth', () => {
    expect(toText(divide(exact('1'), exact('3'), 'down'))).toBe('0.333333333');
    expect(toText(divide(exact('1'), exact('3'), 'up'))).toBe('0.333333334');
  });
});

describe('format', () => {
  it('groups and keeps the decimals asked for', () => {
    expect(format(exact('1234567.5'), 2, 4)).toBe('1,234,567.50');
    expect(format(exact('1234.56789'), 2, 4)).toBe('1,234.5679');
    expect(format(exact('1000'), 0, 9)).toBe('1,000');
    expect(format(exact('-1234.5'), 2, 2)).toBe(`${MINUS}1,234.50`);
  });

  it.each([
    ['250.545', '250.55'],
    ['250.544999999', '250.54'],
    ['-250.545', `${MINUS}250.55`],
    ['-250.544', `${MINUS}250.54`],
    ['0.994', '0.99'],
    ['0.995', '1.00'],
    ['999.999', '1,000.00'],
    ['-999999.995', `${MINUS}1,000,000.00`],
    ['-0.005', `${MINUS}0.01`],
  ])('rounds %s to %s', (text, shown) => expect(format(exact(text), 2, 2)).toBe(shown));

  it('shows no negative zero', () => {
    expect(format(exact('-0.001'), 2, 2)).toBe('0.00');
    expect(format(exact('-0.00499'), 0, 2)).toBe('0');
  });

  it('leaves the text for the API as it is', () => {
    expect(toText(exact('-1234.567890123'))).toBe('-1234.567890123');
  });
});

describe('percentOf', () => {
  const percent = (part: string, whole: string) => {
    const found = percentOf(exact(part), exact(whole));
    return found === null ? null : toText(found);
  };

  it('is rounded once, a tie away from zero', () => {
    expect(percent('4.70', '228.18')).toBe('2.06');
    expect(percent('-4.70', '228.18')).toBe('-2.06');
    expect(percent('0.00005', '1')).toBe('0.01');
    expect(percent('0.000049999', '1')).toBe('0');
    expect(percent('1', '1')).toBe('100');
  });

  it('is unknown without a whole', () => {
    expect(percent('1', '0')).toBeNull();
    expect(percentOf(null, ONE)).toBeNull();
  });
});
