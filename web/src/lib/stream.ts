/**
 * The one WebSocket of the page: what is subscribed, whether it is alive, when to come back.
 *
 * Invariant: whatever was received before a break is stale until the server has sent it again, so
 * `onState('live')` comes with the first frame after a (re)connection, never with the open socket.
 * Sockets, timers and chance are handed in; the class itself touches no global.
 */
import { waitMs } from './backoff';
import type { Frame } from './messages';

/** Nothing heard for this long: ask for a sign of life, which the server answers at once. */
export const QUIET_MS = 15_000;
/** And nothing heard for this long after asking: the connection is dead. */
export const ANSWER_MS = 5_000;
/** A socket that has not opened by then is given up. */
export const OPEN_MS = 8_000;
/** Codes from here on mean: do not come back before something changes on your side. */
const FINAL_CODE_FIRST = 4500;

export type StreamState =
  | { kind: 'connecting' }
  | { kind: 'live' }
  | { kind: 'waiting'; untilMs: number }
  | { kind: 'refused'; code: number };

export interface Socket {
  onopen: ((event: never) => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number }) => void) | null;
  send(text: string): void;
  close(): void;
}

export interface World {
  open(): Socket;
  nowMs(): number;
  random(): number;
  after(ms: number, run: () => void): () => void;
}

export class Stream {
  private socket: Socket | null = null;
  private opened = false;
  private live = false;
  private attempt = 0;
  private cancelTimer = (): void => undefined;
  private symbol: string | null = null;

  constructor(
    private readonly world: World,
    private readonly onFrame: (frame: Frame) => void,
    private readonly onState: (state: StreamState) => void,
  ) {}

  /** Follow this symbol instead of the one before. */
  follow(symbol: string | null): void {
    if (symbol === this.symbol) return;
    if (this.symbol !== null) this.say('unsubscribe', this.symbol);
    this.symbol = symbol;
    if (symbol !== null) this.say('subscribe', symbol);
  }

  /** Say something of one's own, where the connection is open. */
  tell(message: object): void {
    if (this.opened) this.socket?.send(JSON.stringify(message));
  }

  /** Connect now, in place of whatever connection or wait there is. */
  restart(): void {
    this.drop();
    this.attempt = 0;
    this.connect();
  }

  /** The network is known to be gone: say so now rather than when a time-out finds out. */
  lost(): void {
    this.drop();
    this.wait();
  }

  stop(): void {
    this.drop();
  }

  private connect(): void {
    this.onState({ kind: 'connecting' });
    const socket = this.world.open();
    this.socket = socket;
    this.opened = false;
    socket.onopen = () => {
      this.opened = true;
      if (this.symbol !== null) this.say('subscribe', this.symbol);
      this.expect(ANSWER_MS, () => this.lost());
    };
    socket.onmessage = (event) => this.heard(event.data);
    socket.onclose = (event) => this.closed(event.code);
    this.expect(OPEN_MS, () => this.lost());
  }

  private heard(data: unknown): void {
    const frame = typeof data === 'string' ? decode(data) : null;
    if (frame === null) return;
    if (!this.live) {
      this.live = true;
      this.attempt = 0;
      this.onState({ kind: 'live' });
    }
    this.expect(QUIET_MS, () => this.ask());
    this.onFrame(frame);
  }

  /** Have what is followed said anew, all of it: for when what was heard does not fit together. */
  again(): void {
    if (this.symbol === null) return;
    this.say('unsubscribe', this.symbol);
    this.say('subscribe', this.symbol);
  }

  private ask(): void {
    if (this.opened) this.socket?.send('{"action":"ping"}');
    this.expect(ANSWER_MS, () => this.lost());
  }

  private closed(code: number): void {
    this.drop();
    if (code >= FINAL_CODE_FIRST) this.onState({ kind: 'refused', code });
    else this.wait();
  }

  private wait(): void {
    const ms = waitMs(this.attempt, () => this.world.random());
    this.attempt += 1;
    this.onState({ kind: 'waiting', untilMs: this.world.nowMs() + ms });
    this.expect(ms, () => this.connect());
  }

  private say(action: 'subscribe' | 'unsubscribe', symbol: string): void {
    if (this.opened) this.socket?.send(JSON.stringify({ action, symbol }));
  }

  private expect(ms: number, otherwise: () => void): void {
    this.cancelTimer();
    this.cancelTimer = this.world.after(ms, otherwise);
  }

  private drop(): void {
    this.cancelTimer();
    const socket = this.socket;
    this.socket = null;
    this.opened = this.live = false;
    if (socket === null) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }
}

function decode(text: string): Frame | null {
  try {
    const frame: unknown = JSON.parse(text);
    return typeof frame === 'object' && frame !== null && 'type' in frame ? (frame as Frame) : null;
  } catch {
    return null;
  }
}

/** The browser's side of the ports. */
export function browserWorld(path: string): World {
  return {
    open: () => {
      const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:';
      return new WebSocket(`${scheme}//${location.host}${path}`) as unknown as Socket;
    },
    nowMs: () => Date.now(),
    random: () => Math.random(),
    after: (ms, run) => {
      const timer = setTimeout(run, ms);
      return () => clearTimeout(timer);
    },
  };
}
