/**
 * What the page knows of the market: the symbol it follows, its book, trades and day, and whether
 * that is still true. While `fresh` is false the numbers are the last ones heard and must be shown as
 * such. Frames are gathered and take effect once per picture (see frames.ts).
 */
import { bookOf, follow, type Book } from './depth';
import { browserPictures, Gathered } from './frames';
import type { DayFrame, Frame, Level, MarketSession, Trade } from './messages';
import { browserWorld, Stream, type StreamState } from './stream';

export const TRADES_KEPT = 200;
/** The sign-in that the stream was opened with does not hold any more. */
const UNAUTHORIZED_CODE = 4500;

/** A book comes within this, or whoever makes it is away. */
const BOOK_MS = 5_000;

type OrderFrame = Extract<Frame, { type: 'order' }>;
type OfSymbol = Extract<Frame, { symbol: string }>;

/** New trades, oldest first; `whole` says that trades before them may have been missed. */
export type TradesListener = (trades: readonly Trade[], whole: boolean) => void;

class Market {
  symbol = $state<string | null>(null);
  connection = $state<StreamState>({ kind: 'connecting' });
  bids = $state.raw<readonly Level[]>([]);
  asks = $state.raw<readonly Level[]>([]);
  /** Newest first; the server tells them in the order in which they happened. */
  trades = $state.raw<readonly Trade[]>([]);
  day = $state.raw<DayFrame | null>(null);
  session = $state<MarketSession | null>(null);
  /** Orders are taken; prices move. */
  venueThere = $state(true);
  feedThere = $state(true);
  /** The server's own complaint about what the page asked for, such as an unknown symbol. */
  problem = $state<string | null>(null);
  private heardBook = $state(false);
  /** The book should have come by now: whoever makes it does not answer. */
  private late = $state(false);
  private lateTimer: ReturnType<typeof setTimeout> | undefined;
  /** The trades are those of the market, none included. */
  tradesKnown = $state(false);
  /** Connected, or trying to be, with a symbol or without one. */
  private wanted = $state(false);

  /** Who is missing although the connection stands. */
  readonly away = $derived(
    !this.venueThere ? 'venue' : !this.feedThere ? 'feed' : this.late ? 'records' : null,
  );
  /** The book on the screen is the book of the market. */
  readonly fresh = $derived(
    this.connection.kind === 'live' && this.heardBook && this.away === null,
  );
  /** Nothing the stream tells arrives, the account's own events included. */
  readonly interrupted = $derived(
    this.wanted &&
      (this.away !== null || (this.symbol !== null && this.connection.kind !== 'live')),
  );
  readonly last = $derived(this.trades[0] ?? null);

  /** Set by the account: what to do with the account's own events, and when to load it anew. */
  onOrder: (frame: OrderFrame) => void = () => undefined;
  onResync: () => void = () => undefined;
  onSessionOver: () => void = () => undefined;
  private readonly tradeListeners = new Set<TradesListener>();
  private readonly orderListeners = new Set<(event: string) => void>();

  private book: Book | null = null;
  private tape: readonly Trade[] = [];
  private readonly gathered = new Gathered<Frame>(
    browserPictures,
    (frame) => this.take(frame),
    () => this.show(),
  );
  private readonly stream = new Stream(
    browserWorld('/web/stream'),
    (frame) => this.gathered.add(frame),
    (state) => this.connected(state),
  );

  constructor() {
    addEventListener('offline', () => this.wanted && this.stream.lost());
    addEventListener('online', () => this.wanted && this.stream.restart());
  }

  /**
   * Follow `symbol`, connecting where there is no connection yet. Without one the connection ends,
   * unless it is to `stay` for the account's own events and for whether the venue is there.
   */
  follow(symbol: string | null, stay = false): void {
    const [first, wanted] = [!this.wanted, symbol !== null || stay];
    this.wanted = wanted;
    this.turnTo(symbol);
    if (!wanted) this.stream.stop();
    else if (first) this.stream.restart();
  }

  private turnTo(symbol: string | null): void {
    if (symbol === this.symbol) return;
    this.gathered.flush();
    this.symbol = symbol;
    this.book = this.day = this.session = this.problem = null;
    this.tape = [];
    this.heardBook = this.tradesKnown = false;
    this.awaitBook();
    this.show();
    this.stream.follow(symbol);
  }

  /** Connect anew: after a sign-in, for the stream takes the account from the cookie. */
  reconnect(): void {
    if (this.wanted) this.stream.restart();
  }

  /** Hear of trades until the returned function is called; begins with those that are known. */
  listen(listener: TradesListener): () => void {
    this.tradeListeners.add(listener);
    if (this.tape.length > 0) listener([...this.tape].reverse(), true);
    return () => this.tradeListeners.delete(listener);
  }

  /** Hear the kind of each event of the account's orders, or `resync` where some may be missing. */
  hearOrders(listener: (event: string) => void): () => void {
    this.orderListeners.add(listener);
    return () => this.orderListeners.delete(listener);
  }

  private resync(): void {
    this.onResync();
    for (const listener of this.orderListeners) listener('resync');
  }

  private connected(state: StreamState): void {
    this.gathered.flush();
    this.connection = state;
    if (state.kind === 'live') this.resync();
    else this.heardBook = false;
    this.awaitBook();
    if (state.kind === 'refused' && state.code === UNAUTHORIZED_CODE) this.onSessionOver();
  }

  private awaitBook(): void {
    this.late = false;
    clearTimeout(this.lateTimer);
    this.lateTimer = setTimeout(() => {
      const asked = this.symbol !== null && this.connection.kind === 'live';
      this.late = asked && !this.heardBook && this.problem === null;
    }, BOOK_MS);
  }

  private take(frame: Frame): void {
    if (frame.type === 'order') {
      this.onOrder(frame);
      for (const listener of this.orderListeners) listener(frame.event);
    } else if (frame.type === 'resync') this.resync();
    else if (frame.type === 'error') this.problem = frame.message;
    else if (frame.type === 'health') this.takeHealth(frame.venue, frame.feed);
    else if (frame.symbol === this.symbol) this.takeOfSymbol(frame);
  }

  private takeHealth(venue: boolean, feed: boolean): void {
    const back = !(this.venueThere && this.feedThere) && venue && feed;
    this.venueThere = venue;
    this.feedThere = feed;
    if (back) this.resync();
  }

  private takeOfSymbol(frame: OfSymbol): void {
    if (frame.type === 'book') {
      this.book = bookOf(frame);
      this.heardBook = true;
      this.late = false;
    } else if (frame.type === 'change') {
      this.takeChange(frame);
    } else if (frame.type === 'trades') {
      this.takeTrades(frame.trades, frame.whole);
    } else if (frame.type === 'day') {
      this.day = frame;
    } else {
      this.session = frame.session;
    }
  }

  private takeChange(frame: Extract<Frame, { type: 'change' }>): void {
    if (this.book === null || !this.heardBook) return;
    const after = follow(this.book, frame);
    if (after === null) {
      this.heardBook = false;
      this.stream.again();
    } else {
      this.book = after;
    }
  }

  private takeTrades(trades: readonly Trade[], whole: boolean): void {
    this.tradesKnown = true;
    const newest = this.tape[0]?.id ?? 0;
    const fresh = whole ? trades : trades.filter((trade) => trade.id > newest);
    this.tape = [...[...fresh].reverse(), ...(whole ? [] : this.tape)].slice(0, TRADES_KEPT);
    for (const listener of this.tradeListeners) listener(fresh, whole);
  }

  /** Put what was taken on the screen. */
  private show(): void {
    this.bids = this.book?.bids ?? [];
    this.asks = this.book?.asks ?? [];
    this.trades = this.tape;
  }
}

export const market = new Market();
