import { describe, expect, it } from 'vitest';
import { positive, wrongOf } from './amounts';
import { ONE } from './decimal';

describe('wrongOf', () => {
  it.each(['1', '0.000000001', '1,000.50', ' 7 ', '+3', '.5'])('takes %j', (text) => {
    expect(wrongOf(text)).toBeNull();
    expect(positive(text)).not.toBeNull();
  });

  it.each([
    ['', 'needPositive'],
    ['0', 'needPositive'],
    ['-1', 'needPositive'],
    ['1e9', 'needDigits'],
    ['none', 'needDigits'],
    ['.', 'needDigits'],
    ['1.2.3', 'needDigits'],
    ['0.0000000001', 'tooFine'],
    ['9'.repeat(41), 'tooLong'],
  ])('says of %j: %s', (text, why) => {
    expect(wrongOf(text)).toBe(why);
    expect(positive(text)).toBeNull();
  });

  it('keeps the value exact', () => {
    expect(positive('1,000.5')).toBe(1_000n * ONE + ONE / 2n);
  });
});
