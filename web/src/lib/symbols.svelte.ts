/** The list of symbols with their last prices, asked for again every few seconds while shown. */
import { symbols } from './api';
import type { SymbolRow } from './messages';

const EVERY_MS = 3_000;

export class SymbolList {
  /** null: not known yet. */
  rows = $state.raw<readonly SymbolRow[] | null>(null);
  stale = $state(false);

  /** Keep the list fresh until the returned function is called. */
  watch(): () => void {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let ended = false;
    const ask = async (): Promise<void> => {
      try {
        this.rows = await symbols();
        this.stale = false;
      } catch {
        this.stale = true;
      }
      if (!ended) timer = setTimeout(() => void ask(), EVERY_MS);
    };
    void ask();
    return () => {
      ended = true;
      clearTimeout(timer);
    };
  }
}
