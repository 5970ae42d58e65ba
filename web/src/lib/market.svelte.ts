/**
 * What the page knows of the market: the symbol it follows, its book and trades, and whether that is
 * still true. While `fresh` is false the numbers are the last ones heard and must be shown as such.
 */
import type { Frame, Level, MarketSession, Trade } from './messages';
import { browserWorld, Stream, type StreamState } from './stream';

const TRADES_KEPT = 50;
/** The sign-in that the stream was opened with does not hold any more. */
const UNAUTHORIZED_CODE = 4500;

type OrderFrame = Extract<Frame, { type: 'order' }>;

class Market {
  symbol = $state<string | null>(null);
  connection = $state<StreamState>({ kind: 'connecting' });
  bids = $state.raw<readonly Level[]>([]);
  asks = $state.raw<readonly Level[]>([]);
  /** Newest first; the server tells them in the order in which they happened. */
  trades = $state.raw<readonly Trade[]>([]);
  session = $state<MarketSession | null>(null);
  /** The server's own complaint about what the page asked for, such as an unknown symbol. */
  problem = $state<string | null>(null);
  private heardBook = $state(false);

  /** The book on the screen is the book of the market. */
  readonly fresh = $derived(this.connection.kind === 'live' && this.heardBook);
  /** Nothing the stream tells arrives, the account's own events included. */
  readonly interrupted = $derived(this.symbol !== null && this.connection.kind !== 'live');
  readonly last = $derived(this.trades[0] ?? null);

  /** Set by the account: what to do with the account's own events, and when to load it anew. */
  onOrder: (frame: OrderFrame) => void = () => undefined;
  onResync: () => void = () => undefined;
  onSessionOver: () => void = () => undefined;

  private sequence = -1;
  private readonly stream = new Stream(
    browserWorld('/web/stream'),
    (frame) => this.take(frame),
    (state) => this.connected(state),
  );

  constructor() {
    addEventListener('offline', () => this.symbol !== null && this.stream.lost());
    addEventListener('online', () => this.symbol !== null && this.stream.restart());
  }

  /** Follow `symbol`, connecting where there is no connection yet; null ends it. */
  follow(symbol: string | null): void {
    if (symbol === this.symbol) return;
    const first = this.symbol === null;
    this.symbol = symbol;
    this.bids = this.asks = [];
    this.trades = [];
    this.session = this.problem = null;
    this.forget();
    this.stream.follow(symbol);
    if (symbol === null) this.stream.stop();
    else if (first) this.stream.restart();
  }

  /** Connect anew: after a sign-in, for the stream takes the account from the cookie. */
  reconnect(): void {
    if (this.symbol !== null) this.stream.restart();
  }

  private connected(state: StreamState): void {
    this.connection = state;
    if (state.kind === 'live') this.onResync();
    else this.forget();
    if (state.kind === 'refused' && state.code === UNAUTHORIZED_CODE) this.onSessionOver();
  }

  /** A new connection or symbol begins its own run of sequence numbers. */
  private forget(): void {
    this.heardBook = false;
    this.sequence = -1;
  }

  private take(frame: Frame): void {
    if (frame.type === 'order') this.onOrder(frame);
    else if (frame.type === 'resync') this.onResync();
    else if (frame.type === 'error') this.problem = frame.message;
    else if (frame.symbol === this.symbol) this.takeOfSymbol(frame);
  }

  private takeOfSymbol(frame: Extract<Frame, { symbol: string }>): void {
    if (frame.type === 'book') {
      if (frame.sequence < this.sequence) return;
      this.sequence = frame.sequence;
      this.bids = frame.bids;
      this.asks = frame.asks;
      this.heardBook = true;
    } else if (frame.type === 'trades') {
      this.trades = [...frame.trades].reverse();
    } else if (frame.type === 'trade') {
      if (this.trades.some((trade) => trade.id === frame.id)) return;
      this.trades = [frame, ...this.trades].slice(0, TRADES_KEPT);
    } else {
      this.session = frame.session;
    }
  }
}

export const market = new Market();
