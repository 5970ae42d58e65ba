/** What the server says: the stream's frames and the entities of the trading API that the page uses. */

/** Price and quantity as decimal text. */
export type Level = readonly [price: string, qty: string];

export type Side = 'buy' | 'sell';
export type OrderType = 'market' | 'limit' | 'stop' | 'stop_limit';
export type TimeInForce = 'day' | 'gtc' | 'ioc' | 'fok';
export type MarketSession = 'open' | 'closed' | 'halted';

export interface Trade {
  id: number;
  price: string;
  qty: string;
  side: Side;
  t: string;
}

export interface Order {
  id: string;
  client_order_id: string;
  symbol: string;
  side: Side;
  type: string;
  time_in_force: string;
  status: string;
  qty: string | null;
  notional: string | null;
  filled_qty: string;
  filled_avg_price: string | null;
  limit_price: string | null;
  stop_price: string | null;
  created_at: string;
  updated_at: string;
}

export interface Position {
  symbol: string;
  qty: string;
  side: string;
  avg_entry_price: string;
  cost_basis: string;
  market_value: string | null;
  unrealized_pl: string | null;
  current_price: string | null;
  qty_available: string | null;
}

export interface Account {
  cash: string;
  buying_power: string;
  equity: string;
  currency: string;
}

export interface Asset {
  symbol: string;
  name: string;
  price_increment: string | null;
  min_trade_increment: string | null;
}

export interface SymbolRow {
  symbol: string;
  name: string;
  last: string | null;
}

export interface Session {
  account: string | number;
  name: string;
  role: string;
}

/** The day so far, up to the trade it names; `base` is the price that its change is counted from. */
export interface DayFrame {
  type: 'day';
  symbol: string;
  trade: number;
  start: number;
  open: string;
  high: string;
  low: string;
  close: string;
  base: string;
  volume: string;
  trades: number;
}

export interface BookFrame {
  type: 'book';
  symbol: string;
  sequence: number;
  bids: Level[];
  asks: Level[];
}

/** What changed among the levels from one sequence to another; quantity "0" is gone. */
export interface ChangeFrame {
  type: 'change';
  symbol: string;
  previous: number;
  sequence: number;
  bids: Level[];
  asks: Level[];
}

export type Frame =
  | BookFrame
  | ChangeFrame
  | { type: 'trades'; symbol: string; whole: boolean; trades: Trade[] }
  | { type: 'status'; symbol: string; session: MarketSession }
  | DayFrame
  | { type: 'health'; venue: boolean; feed: boolean }
  | { type: 'order'; event: string; order: Order; price?: string; qty?: string; position_qty?: string }
  | { type: 'error'; message: string }
  | { type: 'resync' };

export type Interval = '1Min' | '5Min' | '15Min' | '1Hour' | '1Day';

/** One candle of GET /web/bars; `t` is the beginning in seconds since the epoch. */
export interface BarRow {
  t: number;
  o: string;
  h: string;
  l: string;
  c: string;
  v: string;
  n: number;
  vw: string;
}

export interface BarsAnswer {
  symbol: string;
  timeframe: Interval;
  timezone: string;
  bars: BarRow[];
  /** The last trade that is counted; 0: there is none. */
  trade: number;
  /** Beginning and end of that trade's day. */
  day: number[];
  more: boolean;
}

export interface Fill {
  id: string;
  transaction_time: string;
  price: string;
  qty: string;
  side: Side;
  symbol: string;
  order_id: string;
}
