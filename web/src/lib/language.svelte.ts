/** The language of the page: the one chosen last, else the browser's, else English. */
import { keep, kept } from './kept';
import { en, type Key } from './texts.en';
import { ko } from './texts.ko';

export type Language = 'en' | 'ko';

export const LANGUAGES: readonly (readonly [Language, string])[] = [
  ['en', 'English'],
  ['ko', '한국어'],
];
const STORED_AS = 'madang.language';

class Words {
  language = $state<Language>(initial());

  constructor() {
    document.documentElement.lang = this.language;
  }

  choose(language: Language): void {
    this.language = language;
    document.documentElement.lang = language;
    keep(STORED_AS, language);
  }
}

function initial(): Language {
  const stored = kept(STORED_AS);
  if (stored === 'en' || stored === 'ko') return stored;
  return navigator.language.toLowerCase().startsWith('ko') ? 'ko' : 'en';
}

export const words = new Words();

/** The text of `key` in the chosen language, with `{name}` filled from `values`. */
export function t(key: Key, values: Record<string, string | number> = {}): string {
  const text = words.language === 'ko' ? ko[key] : en[key];
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}

/** The text of `key` before and after its one place to fill in, for what is not mere text. */
export function around(key: Key): readonly [before: string, after: string] {
  const [before = '', after = ''] = t(key).split(/\{\w+\}/);
  return [before, after];
}

/** An order's status in words; one the page has no word for is shown as it came. */
export function statusText(status: string): string {
  const key = `status_${status}`;
  return key in en ? t(key as Key) : status;
}
