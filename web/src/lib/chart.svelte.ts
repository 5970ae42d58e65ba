/**
 * The candles of the symbol and interval on the screen: asked for, kept up to date by trades, asked
 * for anew after a hole. Whoever draws them listens to `onChange`.
 */
import { ApiRefusal } from './api';
import { Candles } from './candles';
import { market } from './market.svelte';
import type { BarRow, Interval, Trade } from './messages';
import { bars } from './trading';

/** How many candles are asked for at a time. */
export const PAGE = 400;
/** Half to one and a half of this, so that many pages do not ask at once. */
const RETRY_MS = 1_000;
/** Trades that wait while candles are asked for; beyond it they are asked for again. */
const HELD_MAX = 20_000;

/** The stream says its trades first as a rule; without it the candles are asked for after this. */
const STREAM_FIRST_MS = 800;

/** All anew, older ones put before, or candles from the newest drawn one on. */
export type Change = 'all' | 'older' | 'newest';

export class ChartData {
  /** The candles are those of the market, as far as trades were heard. */
  ready = $state(false);
  /** Not there now and asked for again, or refused for good; what exactly is the server's affair. */
  problem = $state<'away' | 'refused' | null>(null);
  newest = $state.raw<BarRow | null>(null);
  timezone = $state('UTC');

  private candles: Candles | null = null;
  private held: Trade[] = [];
  private round = 0;
  private more = false;
  private loadingMore = false;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly symbol: string,
    private readonly interval: Interval,
    private readonly onChange: (change: Change) => void,
  ) {}

  get bars(): readonly BarRow[] {
    return this.candles?.bars ?? [];
  }

  /** Load and follow until the returned function is called. */
  start(): () => void {
    const leave = market.listen((trades, whole) => this.hear(trades, whole));
    if (this.round === 0) this.timer = setTimeout(() => void this.load(), STREAM_FIRST_MS);
    return () => {
      leave();
      this.round += 1;
      clearTimeout(this.timer);
    };
  }

  /** Ask for older candles, if there are any. */
  async loadMore(): Promise<void> {
    const [candles, first] = [this.candles, this.bars[0]];
    if (!this.more || this.loadingMore || !candles || !first) return;
    this.loadingMore = true;
    try {
      const answer = await bars(this.symbol, this.interval, PAGE, first.t);
      if (candles !== this.candles) return;
      candles.prepend(answer.bars);
      this.more = answer.more && answer.bars.length > 0;
      this.onChange('older');
    } catch {
      // The next scroll asks again.
    } finally {
      this.loadingMore = false;
    }
  }

  private hear(trades: readonly Trade[], whole: boolean): void {
    if (!this.ready) {
      if (whole) this.held = [];
      this.held.push(...trades);
      if (whole || this.held.length > HELD_MAX) void this.load();
      return;
    }
    const counted = this.candles?.trade ?? 0;
    const joined = !whole || trades.length === 0 || trades.some(({ id }) => id <= counted);
    if (!joined || !this.count(trades)) {
      this.held = [...trades];
      void this.load();
    }
  }

  private async load(): Promise<void> {
    const round = ++this.round;
    const known = this.held.at(-1)?.id ?? 0;
    this.ready = false;
    clearTimeout(this.timer);
    try {
      const answer = await bars(this.symbol, this.interval, PAGE);
      if (round !== this.round) return;
      // Trades before those that are held may be missing from an answer older than they are.
      if (answer.trade < known) {
        this.later();
        return;
      }
      this.problem = null;
      this.timezone = answer.timezone;
      this.more = answer.more;
      this.candles = new Candles(answer);
    } catch (error) {
      if (round !== this.round) return;
      const refused = error instanceof ApiRefusal && error.status < 500 && error.status !== 429;
      this.problem = refused ? 'refused' : 'away';
      if (!refused) this.later();
      return;
    }
    this.ready = true;
    const held = this.held;
    this.held = [];
    if (!this.count(held)) this.later();
    this.newest = this.candles.newest;
    this.onChange('all');
  }

  private later(): void {
    this.ready = false;
    this.timer = setTimeout(() => void this.load(), RETRY_MS * (0.5 + Math.random()));
  }

  /** Count trades that follow; false where the candles must be asked for anew. */
  private count(trades: readonly Trade[]): boolean {
    const candles = this.candles;
    if (!candles) return false;
    let changed = false;
    for (const trade of trades) {
      const step = candles.add(trade);
      if (step === 'past') return false;
      changed ||= step !== 'known';
    }
    if (changed) {
      this.newest = candles.newest;
      this.onChange('newest');
    }
    return true;
  }
}
