import { beforeEach, describe, expect, it } from 'vitest';
import { FIRST_MS, LAST_MS, waitMs } from './backoff';
import type { Frame } from './messages';
import { ANSWER_MS, OPEN_MS, QUIET_MS, Stream, type Socket, type StreamState } from './stream';

/** A world of which the test is the clock, the network and the server. */
class TestWorld {
  sockets: TestSocket[] = [];
  now = 0;
  private timers: { at: number; run: () => void }[] = [];

  open(): TestSocket {
    const socket = new TestSocket();
    this.sockets.push(socket);
    return socket;
  }

  nowMs = () => this.now;
  random = () => 0.5;

  after = (ms: number, run: () => void) => {
    const timer = { at: this.now + ms, run };
    this.timers.push(timer);
    return () => {
      this.timers = this.timers.filter((other) => other !== timer);
    };
  };

  pass(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      const [next] = this.timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
      if (next === undefined) break;
      this.timers = this.timers.filter((other) => other !== next);
      this.now = next.at;
      next.run();
    }
    this.now = end;
  }

  get socket(): TestSocket {
    const socket = this.sockets.at(-1);
    if (!socket) throw new Error('nothing was opened');
    return socket;
  }

  get timersWaiting(): number {
    return this.timers.length;
  }
}

class TestSocket implements Socket {
  onopen: ((event: never) => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  sent: unknown[] = [];
  closed = false;

  send(text: string): void {
    this.sent.push(JSON.parse(text));
  }

  close(): void {
    this.closed = true;
  }

  accept(): void {
    this.onopen?.(undefined as never);
  }

  say(frame: object): void {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }
}

const BOOK = { type: 'book', symbol: 'KIM', sequence: 1, bids: [], asks: [] };

let world: TestWorld;
let frames: Frame[];
let states: StreamState[];
let stream: Stream;

beforeEach(() => {
  world = new TestWorld();
  frames = [];
  states = [];
  stream = new Stream(
    world,
    (frame) => frames.push(frame),
    (state) => states.push(state),
  );
  stream.follow('KIM');
  stream.restart();
});

const kinds = () => states.map((state) => state.kind);

describe('Stream', () => {
  it('subscribes when open and is live only with the first frame', () => {
    world.socket.accept();
    expect(world.socket.sent).toEqual([{ action: 'subscribe', symbol: 'KIM' }]);
    expect(kinds()).toEqual(['connecting']);
    world.socket.say(BOOK);
    expect(kinds()).toEqual(['connecting', 'live']);
    expect(frames).toEqual([BOOK]);
  });

  it('changes the symbol on the open connection', () => {
    world.socket.accept();
    stream.follow('HAN');
    expect(world.socket.sent.slice(1)).toEqual([
      { action: 'unsubscribe', symbol: 'KIM' },
      { action: 'subscribe', symbol: 'HAN' },
    ]);
  });

  it('comes back by itself and subscribes again', () => {
    world.socket.accept();
    world.socket.say(BOOK);
    world.socket.onclose?.({ code: 1006 });
    expect(states.at(-1)).toEqual({ kind: 'waiting', untilMs: world.now + waitMs(0, () => 0.5) });
    world.pass(FIRST_MS);
    world.socket.accept();
    expect(world.sockets).toHaveLength(2);
    expect(world.socket.sent).toEqual([{ action: 'subscribe', symbol: 'KIM' }]);
    world.socket.say(BOOK);
    expect(states.at(-1)?.kind).toBe('live');
  });

  it('waits longer after each failure, and starts over once it was live', () => {
    const waits: number[] = [];
    for (let i = 0; i < 8; i++) {
      world.socket.onclose?.({ code: 1006 });
      const state = states.at(-1);
      if (state?.kind !== 'waiting') throw new Error('not waiting');
      waits.push(state.untilMs - world.now);
      world.pass(LAST_MS);
    }
    expect(waits.slice(0, 3)).toEqual([188, 375, 750]);
    expect(waits.at(-1)).toBe(0.75 * LAST_MS);
    world.socket.accept();
    world.socket.say(BOOK);
    world.socket.onclose?.({ code: 1012 });
    expect(states.at(-1)).toEqual({ kind: 'waiting', untilMs: world.now + 188 });
  });

  it('stays away when the server says so, until it is told to come back', () => {
    world.socket.accept();
    world.socket.onclose?.({ code: 4500 });
    expect(states.at(-1)).toEqual({ kind: 'refused', code: 4500 });
    world.pass(10 * LAST_MS);
    expect(world.sockets).toHaveLength(1);
    stream.restart();
    expect(world.sockets).toHaveLength(2);
  });

  it('asks when nothing was heard, and is live still when answered', () => {
    world.socket.accept();
    world.socket.say(BOOK);
    world.pass(QUIET_MS);
    expect(world.socket.sent.slice(1)).toEqual([{ action: 'ping' }]);
    world.socket.say({ type: 'health', venue: true, feed: true });
    world.pass(ANSWER_MS);
    expect(states.at(-1)?.kind).toBe('live');
  });

  it('has everything said anew on demand', () => {
    world.socket.accept();
    stream.again();
    expect(world.socket.sent.slice(1)).toEqual([
      { action: 'unsubscribe', symbol: 'KIM' },
      { action: 'subscribe', symbol: 'KIM' },
    ]);
  });

  it('gives a dead connection up: no open, no first frame, or no answer', () => {
    world.pass(OPEN_MS);
    expect(world.sockets[0]?.closed).toBe(true);
    expect(states.at(-1)?.kind).toBe('waiting');
    world.pass(FIRST_MS);
    world.socket.accept();
    world.pass(ANSWER_MS);
    expect(states.at(-1)?.kind).toBe('waiting');
    world.pass(LAST_MS);
    world.socket.accept();
    world.socket.say(BOOK);
    world.pass(QUIET_MS + ANSWER_MS);
    expect(states.at(-1)?.kind).toBe('waiting');
  });

  it('hears nothing from a connection that it has left', () => {
    const old = world.socket;
    old.accept();
    stream.restart();
    old.say(BOOK);
    old.onclose?.({ code: 1006 });
    expect(frames).toEqual([]);
    expect(kinds()).toEqual(['connecting', 'connecting']);
  });

  it('passes over what is no frame', () => {
    world.socket.accept();
    for (const data of ['', '{', '7', 'null', '{"a":1}', new ArrayBuffer(2)]) {
      world.socket.onmessage?.({ data });
    }
    expect(frames).toEqual([]);
    expect(kinds()).toEqual(['connecting']);
  });

  it('leaves no timer behind when stopped', () => {
    world.socket.accept();
    stream.stop();
    expect(world.timersWaiting).toBe(0);
    expect(world.socket.closed).toBe(true);
  });
});

describe('waitMs', () => {
  it('spreads the clients over half of each wait', () => {
    expect(waitMs(0, () => 0)).toBe(FIRST_MS / 2);
    expect(waitMs(0, () => 1)).toBe(FIRST_MS);
    expect(waitMs(1_000, () => 1)).toBe(LAST_MS);
  });
});
