/** Amounts as people type them: what they mean, or what is wrong with them. Pure. */
import { parse, PLACES, type Decimal } from './decimal';

/** Each is the key of a sentence. */
export type Wrong = 'needPositive' | 'needDigits' | 'tooFine' | 'tooLong';

/** Digits with at most one point; commas between thousands are taken out first. */
const NUMBER = /^[+-]?(?=.*\d)\d*(?:\.(\d*))?$/;

/** A number above zero, null where the text is none. */
export function positive(text: string | null): Decimal | null {
  const value = parse(bare(text));
  return value !== null && value > 0n ? value : null;
}

/** Why the text is no amount, null where it is one. */
export function wrongOf(text: string): Wrong | null {
  const plain = bare(text) ?? '';
  if (plain === '') return 'needPositive';
  const found = NUMBER.exec(plain);
  if (found === null) return 'needDigits';
  const value = parse(plain);
  if (value !== null) return value > 0n ? null : 'needPositive';
  return (found[1] ?? '').replace(/0+$/, '').length > PLACES ? 'tooFine' : 'tooLong';
}

function bare(text: string | null): string | null {
  return text === null ? null : text.replaceAll(',', '').trim();
}
