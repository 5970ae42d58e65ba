/** All symbols of the market as the front page shows them: asked for whole, then kept by the stream. */
import { call } from './api';
import type { Frame } from './messages';
import { take, type OverviewRow } from './overview';
import { browserWorld, Stream, type StreamState } from './stream';

/** What the stream calls all symbols. */
const EVERYTHING = '*';
/** Lines grow by a point in minutes, so all of it is asked for again now and then. */
const WHOLE_EVERY_MS = 30_000;
/** Nothing heard for this long: ask, for a market that stands still and a broken one look alike. */
const QUIET_MS = 10_000;
const RETRY_MS = 2_000;

type OverviewFrame = { type: 'overview'; rows: OverviewRow[] };

class Overview {
  /** null: not known yet. */
  rows = $state.raw<readonly OverviewRow[] | null>(null);
  connection = $state<StreamState>({ kind: 'connecting' });
  /** Orders are taken; prices move; the last load succeeded. */
  private venueThere = $state(true);
  private feedThere = $state(true);
  private unloaded = $state(false);
  /** Who is missing although the connection stands. */
  readonly away = $derived(
    !this.venueThere ? 'venue' : !this.feedThere ? 'feed' : this.unloaded ? 'records' : null,
  );
  readonly fresh = $derived(
    this.connection.kind === 'live' && this.rows !== null && this.away === null,
  );

  private watchers = 0;
  private wholeAtMs = 0;
  private heard = false;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly stream = new Stream(
    browserWorld('/web/stream'),
    (frame) => this.take(frame as Frame | OverviewFrame),
    (state) => (this.connection = state),
  );

  constructor() {
    this.stream.follow(EVERYTHING);
    addEventListener('offline', () => this.watchers > 0 && this.stream.lost());
    addEventListener('online', () => this.watchers > 0 && this.stream.restart());
  }

  /** Keep all symbols fresh until the returned function is called. */
  watch(): () => void {
    this.watchers += 1;
    if (this.watchers === 1) {
      this.stream.restart();
      void this.ask();
    }
    return () => {
      this.watchers -= 1;
      if (this.watchers > 0) return;
      this.stream.stop();
      clearTimeout(this.timer);
    };
  }

  /** Ask once, for who only needs to know which symbols there are. */
  async know(): Promise<void> {
    if (this.rows !== null || (await this.load()) || this.watchers > 0) return;
    setTimeout(() => void this.know(), RETRY_MS);
  }

  reconnect(): void {
    if (this.watchers > 0) this.stream.restart();
  }

  private async ask(): Promise<void> {
    const due = !this.heard || this.unloaded || Date.now() - this.wholeAtMs >= WHOLE_EVERY_MS;
    this.heard = false;
    const done = !due || (await this.load());
    clearTimeout(this.timer);
    if (this.watchers > 0) {
      this.timer = setTimeout(() => void this.ask(), done ? QUIET_MS : RETRY_MS);
    }
  }

  private async load(): Promise<boolean> {
    try {
      this.rows = await call<OverviewRow[]>('GET', '/web/overview');
      this.wholeAtMs = Date.now();
      this.unloaded = false;
    } catch {
      this.unloaded = true;
    }
    return !this.unloaded;
  }

  private takeHealth(venue: boolean, feed: boolean): void {
    const back = this.away !== null && venue && feed;
    this.venueThere = venue;
    this.feedThere = feed;
    if (back) void this.load();
  }

  private take(frame: Frame | OverviewFrame): void {
    if (frame.type === 'health') this.takeHealth(frame.venue, frame.feed);
    if (frame.type !== 'overview' || this.rows === null) return;
    this.heard = true;
    this.rows = take(this.rows, frame.rows);
    // A symbol's first trade of the day: its line has begun, and only the whole answer has lines.
    if (frame.rows.some(isBegun(this.rows))) void this.load();
  }
}

/** Tells of news whether its symbol has traded while our row of it has no line. */
function isBegun(rows: readonly OverviewRow[]): (news: OverviewRow) => boolean {
  const bare = new Set(rows.filter(({ line }) => line.length === 0).map(({ symbol }) => symbol));
  return (news) => news.trades !== null && bare.has(news.symbol);
}

export const overview = new Overview();
