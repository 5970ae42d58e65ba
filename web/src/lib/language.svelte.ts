/** The language of the page: the one chosen last, else the browser's, else English. */
import { en, type Key } from './texts.en';
import { ko } from './texts.ko';

export type Language = 'en' | 'ko';

const STORED_AS = 'madang.language';

class Words {
  language = $state<Language>(initial());

  constructor() {
    document.documentElement.lang = this.language;
  }

  choose(language: Language): void {
    this.language = language;
    document.documentElement.lang = language;
    try {
      localStorage.setItem(STORED_AS, language);
    } catch {
      // Storage may be forbidden; then the choice lasts as long as the page.
    }
  }
}

function initial(): Language {
  let stored: string | null = null;
  try {
    stored = localStorage.getItem(STORED_AS);
  } catch {
    // As above.
  }
  if (stored === 'en' || stored === 'ko') return stored;
  return navigator.language.toLowerCase().startsWith('ko') ? 'ko' : 'en';
}

export const words = new Words();

/** The text of `key` in the chosen language, with `{name}` filled from `values`. */
export function t(key: Key, values: Record<string, string | number> = {}): string {
  const text = words.language === 'ko' ? ko[key] : en[key];
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}

/** An order's status in words; one the page has no word for is shown as it came. */
export function statusText(status: string): string {
  const key = `status_${status}`;
  return key in en ? t(key as Key) : status;
}
