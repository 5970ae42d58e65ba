/** What the server says: the stream's frames and the entities of the trading API that the page uses. */

/** Price and quantity as decimal text. */
export type Level = readonly [price: string, qty: string];

export type Side = 'buy' | 'sell';
export type OrderType = 'market' | 'limit' | 'stop' | 'stop_limit';
export type TimeInForce = 'day' | 'gtc' | 'ioc' | 'fok';
export type MarketSession = 'open' | 'closed' | 'halted';

export interface Trade {
  id: string | number;
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

export type Frame =
  | { type: 'book'; symbol: string; sequence: number; bids: Level[]; asks: Level[] }
  | ({ type: 'trade'; symbol: string } & Trade)
  | { type: 'trades'; symbol: string; trades: Trade[] }
  | { type: 'status'; symbol: string; session: MarketSession }
  | { type: 'order'; event: string; order: Order; price?: string; qty?: string; position_qty?: string }
  | { type: 'error'; message: string }
  | { type: 'resync' };
