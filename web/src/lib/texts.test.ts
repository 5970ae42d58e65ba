import { describe, expect, it } from 'vitest';
import { refusalText } from './refusals';
import { toPage } from './router.svelte';
import { exactSize, showCash, showMoney, showOrdered, showPrice, showQty, showSize } from './show';
import { en, type Key } from './texts.en';
import { ko } from './texts.ko';

const holes = (text: string) => [...text.matchAll(/\{\w+\}/g)].map(String).sort();

describe('texts', () => {
  it.each(Object.keys(en) as Key[])('%s has the same places to fill in both languages', (key) => {
    expect(ko[key].trim()).not.toBe('');
    expect(holes(ko[key])).toEqual(holes(en[key]));
  });
});

describe('refusalText', () => {
  it('translates what is known and keeps the words of the server', () => {
    expect(refusalText('insufficient buying power', 'en')).toBe('insufficient buying power');
    expect(refusalText('insufficient buying power', 'ko')).toContain('매수 가능 금액');
    expect(refusalText('insufficient buying power', 'ko')).toContain('insufficient buying power');
    expect(refusalText('something new', 'ko')).toBe('something new');
  });
});

describe('numbers', () => {
  it('shows a dash for what is not known, never a zero', () => {
    expect([showPrice(null), showCash(undefined), showQty('NaN')]).toEqual(['–', '–', '–']);
  });

  it('shows prices with two to four decimals and quantities as they are', () => {
    expect([showPrice('70100'), showPrice('1.2345'), showQty('0.000000001')]).toEqual([
      '70,100.00',
      '1.2345',
      '0.000000001',
    ]);
    expect([showMoney('250.545'), showMoney('-1.5'), showMoney(null)]).toEqual(['$250.55', '\u2212$1.50', '–']);
    expect(showOrdered({ qty: null, notional: '1000' })).toBe('$1,000.00');
  });
});

describe('showSize', () => {
  it.each([
    ['419676.072238627', '419,676'],
    ['1000', '1,000'],
    ['999.996', '1,000'],
    ['151.072238627', '151.07'],
    ['612', '612'],
    ['0.927761373', '0.9278'],
    ['0.000000001', '<0.0001'],
    ['0', '0'],
  ])('shows %s as %s', (text, shown) => expect(showSize(text)).toBe(shown));

  it('keeps the exact quantity for who points at it', () => {
    expect(exactSize('151.072238627')).toBe('151.072238627');
    expect(exactSize('612')).toBeUndefined();
  });
});

describe('toPage', () => {
  it('finds the page of a path', () => {
    expect(toPage('/')).toEqual({ name: 'home' });
    expect(toPage('/trade/kim')).toEqual({ name: 'trade', symbol: 'KIM' });
    expect(toPage('/trade/BRK.B/')).toEqual({ name: 'trade', symbol: 'BRK.B' });
    expect(toPage('/trade/')).toEqual({ name: 'trading' });
    expect(toPage('/trade/%zz')).toEqual({ name: 'missing' });
    expect(toPage('/cluster')).toEqual({ name: 'cluster' });
    expect(toPage('/elsewhere')).toEqual({ name: 'missing' });
  });
});
