/** The account's last fills, asked for again after each of its order events that is one. */
import { market } from './market.svelte';
import type { Fill } from './messages';
import { fills } from './trading';

const RETRY_MS = 2_000;
/** Many fills in a row are one question. */
const GATHER_MS = 150;

export class FillList {
  /** Newest first; null: not known yet. */
  rows = $state.raw<readonly Fill[] | null>(null);
  stale = $state(false);

  /** Keep the list fresh until the returned function is called. */
  watch(): () => void {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let ended = false;
    const ask = async (): Promise<void> => {
      try {
        this.rows = await fills();
        this.stale = false;
      } catch {
        this.stale = true;
        if (!ended) plan(RETRY_MS);
      }
    };
    const plan = (ms: number): void => {
      clearTimeout(timer);
      timer = setTimeout(() => void ask(), ms);
    };
    const leave = market.hearOrders((event) => {
      if (event === 'fill' || event === 'partial_fill' || event === 'resync') plan(GATHER_MS);
    });
    void ask();
    return () => {
      ended = true;
      leave();
      clearTimeout(timer);
    };
  }
}
