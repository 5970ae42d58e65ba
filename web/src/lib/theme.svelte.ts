/**
 * Light or dark: as chosen last, else as the system has it. `public/theme.js` sets the choice before
 * the first paint, by the same key and attribute; this follows and changes it.
 */
import { keep, kept } from './kept';

export type Theme = 'system' | 'light' | 'dark';

export const THEMES: readonly Theme[] = ['system', 'light', 'dark'];
const STORED_AS = 'madang.theme';

class ThemeChoice {
  choice = $state<Theme>(read());
  private systemDark = $state(false);
  /** What is on the screen; look at it in an effect that draws with `colour()`. */
  readonly dark = $derived(this.choice === 'system' ? this.systemDark : this.choice === 'dark');

  constructor() {
    show(this.choice);
    if (typeof matchMedia === 'undefined') return;
    const query = matchMedia('(prefers-color-scheme: dark)');
    this.systemDark = query.matches;
    query.addEventListener('change', (event) => (this.systemDark = event.matches));
    addEventListener('storage', (event) => {
      if (event.key !== STORED_AS) return;
      this.choice = read();
      show(this.choice);
    });
  }

  choose(theme: Theme): void {
    this.choice = theme;
    show(theme);
    keep(STORED_AS, theme === 'system' ? null : theme);
  }

  /** A custom property such as `--up` as a canvas needs it: `rgb(…)`. */
  colour(name: string): string {
    const probe = document.createElement('span');
    probe.style.color = `var(${name})`;
    document.body.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  }
}

function read(): Theme {
  const stored = kept(STORED_AS);
  return stored === 'light' || stored === 'dark' ? stored : 'system';
}

function show(theme: Theme): void {
  const root = document.documentElement;
  if (theme === 'system') root.removeAttribute('data-theme');
  else root.dataset.theme = theme;
}

export const theme = new ThemeChoice();
