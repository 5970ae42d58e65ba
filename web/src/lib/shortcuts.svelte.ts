/**
 * Single keys of the trading page. They work while no field, no dialog and no list has the focus
 * that takes keys itself, and they can be turned off, which is kept.
 */
import { keep, kept } from './kept';

const STORED_AS = 'madang.shortcuts';
const TAKES_KEYS = 'input, select, textarea, dialog, [contenteditable], [role="application"]';

class Shortcuts {
  on = $state(kept(STORED_AS) !== 'off');

  set(on: boolean): void {
    this.on = on;
    keep(STORED_AS, on ? null : 'off');
  }
}

export const shortcuts = new Shortcuts();

/** The key that was meant as a shortcut, or null. `?` works always, so that the list can be found. */
export function shortcutOf(event: KeyboardEvent): string | null {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return null;
  const target = event.target instanceof Element ? event.target : null;
  const typing = target?.closest(TAKES_KEYS);
  if (typing && !(typing instanceof HTMLInputElement && typing.type === 'radio')) return null;
  if (document.querySelector('dialog[open]')) return null;
  if (event.key !== '?' && !shortcuts.on) return null;
  return event.key;
}
