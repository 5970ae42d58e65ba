/**
 * Who is signed in and what they hold. Orders are kept by the stream's events; cash and positions
 * are asked for again after each of them and every few seconds, one question at a time, so that every
 * number on the screen was computed by the server.
 */
import * as api from './api';
import { market } from './market.svelte';
import type { Account, Order, Position, Session } from './messages';
import { ended, merge, open, replaceAll, type Orders } from './orders';

const RECENT_LIMIT = 30;
/** Wait before asking again after a failed load. */
const RETRY_MS = 2_000;

class AccountState {
  /** undefined: not known yet. */
  session = $state<Session | null | undefined>(undefined);
  balance = $state.raw<Account | null>(null);
  positions = $state.raw<readonly Position[]>([]);
  /** The last load failed. */
  unloaded = $state(false);
  /** What is shown may be old. */
  readonly stale = $derived(this.unloaded || market.interrupted);
  private orders = $state.raw<Orders>(new Map());

  readonly openOrders = $derived(open(this.orders));
  readonly recentOrders = $derived(ended(this.orders, RECENT_LIMIT));

  private loading = false;
  private again: 'nothing' | 'money' | 'all' = 'nothing';
  private heard: Order[] = [];
  private retry: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    market.onOrder = (frame) => {
      this.heard.push(frame.order);
      this.orders = merge(this.orders, frame.order);
      void this.load('money');
    };
    market.onResync = () => void this.load('all');
    // Watching goes on as a visitor, or as whoever the cookie says by then.
    market.onSessionOver = () => void this.start().then(() => market.reconnect());
  }

  async start(): Promise<void> {
    try {
      this.session = await api.session();
    } catch {
      this.retry = setTimeout(() => void this.start(), RETRY_MS);
      return;
    }
    if (this.session === null) this.signedOut();
    else await this.load('all');
  }

  async signIn(name: string, password: string): Promise<void> {
    await api.signIn(name, password);
    this.session = await api.session();
    market.reconnect();
    await this.load('all');
  }

  /** Whoever the cookie says now: after signing up, or after another page signed in or out. */
  async refresh(): Promise<void> {
    await this.start();
    market.reconnect();
  }

  async signOut(): Promise<void> {
    await api.signOut();
    this.signedOut();
    market.reconnect();
  }

  /** An order of ours as the API answered it: known before the stream says so. */
  learn(order: Order): void {
    this.heard.push(order);
    this.orders = merge(this.orders, order);
    void this.load('money');
  }

  position(symbol: string): Position | null {
    return this.positions.find((position) => position.symbol === symbol) ?? null;
  }

  /** Load cash and positions, or everything; while one load runs, the next is remembered. */
  async load(what: 'money' | 'all'): Promise<void> {
    if (!this.session) return;
    if (this.loading) {
      if (this.again !== 'all') this.again = what;
      return;
    }
    this.loading = true;
    this.heard = [];
    clearTimeout(this.retry);
    try {
      await this.fetch(what);
      this.unloaded = false;
    } catch (error) {
      this.failed(error, what);
    } finally {
      this.loading = false;
    }
    const next = this.again;
    this.again = 'nothing';
    if (next !== 'nothing') await this.load(next);
  }

  private async fetch(what: 'money' | 'all'): Promise<void> {
    const lists =
      what === 'all' ? [api.orders('open'), api.orders('closed', RECENT_LIMIT)] : [];
    const [balance, positions, ...orders] = await Promise.all([
      api.account(),
      api.positions(),
      ...lists,
    ]);
    if (what === 'all') this.orders = replaceAll(orders.flat(), this.heard);
    this.balance = balance;
    this.positions = positions;
  }

  private failed(error: unknown, what: 'money' | 'all'): void {
    if (error instanceof api.ApiRefusal && error.status === 401) {
      this.signedOut();
      return;
    }
    this.unloaded = true;
    this.retry = setTimeout(() => void this.load(what), RETRY_MS);
  }

  private signedOut(): void {
    clearTimeout(this.retry);
    this.session = this.balance = null;
    this.positions = [];
    this.orders = new Map();
    this.unloaded = false;
  }
}

export const account = new AccountState();
