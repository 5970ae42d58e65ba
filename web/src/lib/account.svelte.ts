/**
 * Who is signed in and what they hold. Orders are kept by the stream's events; cash and positions
 * are asked for again after each of them and every few seconds, one question at a time, so that every
 * number on the screen was computed by the server.
 */
import * as api from './api';
import { market } from './market.svelte';
import type { Account, Order, Position, Session } from './messages';
import { ended, merge, open, replaceAll, type Orders } from './orders';
import { changePassword } from './person';

const RECENT_LIMIT = 30;
/** Wait before asking again after a failed load. */
const RETRY_MS = 2_000;

class AccountState {
  /** undefined: not known yet. */
  session = $state<Session | null | undefined>(undefined);
  balance = $state.raw<Account | null>(null);
  /** undefined: not known yet, which is not the same as none. */
  positions = $state.raw<readonly Position[] | undefined>(undefined);
  /** The session ended although nobody signed out here. */
  over = $state(false);
  /** The last load failed. */
  unloaded = $state(false);
  /** What is shown may be old. */
  readonly stale = $derived(this.unloaded || market.interrupted);
  private orders = $state.raw<Orders>(new Map());
  private ordersKnown = $state(false);

  /** Both undefined until all orders were loaded once. */
  readonly openOrders = $derived(this.ordersKnown ? open(this.orders) : undefined);
  readonly recentOrders = $derived(this.ordersKnown ? ended(this.orders, RECENT_LIMIT) : undefined);

  /** While the password changes: the old session ends before the cookie of the new one is here. */
  private renewing: Promise<unknown> = Promise.resolve();
  private loading = false;
  /** Orders may have been missed since they were loaded last. */
  private ordersOwed = true;
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
    market.onSessionOver = () => void this.check();
  }

  async start(): Promise<void> {
    try {
      this.session = await api.session();
    } catch {
      this.retry = setTimeout(() => void this.start(), RETRY_MS);
      return;
    }
    if (this.session === null) this.signedOut();
    else await this.begin();
  }

  async signIn(name: string, password: string): Promise<void> {
    await api.signIn(name, password);
    this.session = await api.session();
    market.reconnect();
    await this.begin();
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

  /** The server said that the session does not hold: find out whether another one does by now. */
  async check(): Promise<void> {
    await this.renewing;
    const before = Boolean(this.session);
    await this.start();
    this.over ||= before && this.session === null;
    market.reconnect();
  }

  async changePassword(current: string, fresh: string): Promise<void> {
    const work = changePassword(current, fresh);
    this.renewing = work.catch(() => undefined);
    await work;
  }

  /** An order of ours as the API answered it: known before the stream says so. */
  learn(order: Order): void {
    this.heard.push(order);
    this.orders = merge(this.orders, order);
    void this.load('money');
  }

  position(symbol: string): Position | null {
    return this.positions?.find((position) => position.symbol === symbol) ?? null;
  }

  /** Load cash and positions, or everything; while one load runs, the next is remembered. */
  async load(what: 'money' | 'all'): Promise<void> {
    if (!this.session) return;
    if (what === 'all') this.ordersOwed = true;
    if (this.loading) {
      if (this.again !== 'all') this.again = what;
      return;
    }
    this.loading = true;
    this.heard = [];
    clearTimeout(this.retry);
    try {
      await this.fetch(this.ordersOwed ? 'all' : 'money');
      this.unloaded = false;
    } catch (error) {
      this.failed(error);
    } finally {
      this.loading = false;
    }
    const next = this.again;
    this.again = 'nothing';
    if (next !== 'nothing') await this.load(next);
  }

  private async begin(): Promise<void> {
    this.over = false;
    await this.load('all');
  }

  private async fetch(what: 'money' | 'all'): Promise<void> {
    const lists =
      what === 'all' ? [api.orders('open'), api.orders('closed', RECENT_LIMIT)] : [];
    const [balance, positions, ...orders] = await Promise.all([
      api.account(),
      api.positions(),
      ...lists,
    ]);
    if (!this.session) return;
    if (what === 'all') {
      this.orders = replaceAll(orders.flat(), this.heard);
      this.ordersKnown = true;
      this.ordersOwed = false;
    }
    this.balance = balance;
    this.positions = positions;
  }

  private failed(error: unknown): void {
    if (error instanceof api.ApiRefusal && error.status === 401) {
      void this.check();
      return;
    }
    this.unloaded = true;
    this.retry = setTimeout(() => void this.load('money'), RETRY_MS);
  }

  private signedOut(): void {
    clearTimeout(this.retry);
    this.session = this.balance = null;
    this.positions = undefined;
    this.orders = new Map();
    this.ordersKnown = false;
    this.unloaded = false;
  }
}

export const account = new AccountState();
