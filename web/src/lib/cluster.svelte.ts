/** The machine as the page /cluster shows it: kept by a stream of its own, only while it is watched. */
import { call } from './api';
import {
  extend, withLines,
  type AuditEntry, type ClusterFrame, type History, type LogLine, type StateFrame,
} from './cluster';
import { browserWorld, Stream, type StreamState } from './stream';

export interface Action {
  kind: 'reload' | 'restart' | 'scale';
  name: string;
  instances?: string;
}

export interface Cause {
  at: number;
  pid: number | null;
  generation: number;
  state: string;
  cause: string;
}

interface Description {
  instances: { name: string; causes: Cause[] }[];
}

class Cluster {
  state = $state.raw<StateFrame | null>(null);
  history = $state.raw<History | null>(null);
  lines = $state.raw<readonly LogLine[]>([]);
  /** Lines that were left out since the output was asked for. */
  leftOut = $state(0);
  audit = $state.raw<readonly AuditEntry[]>([]);
  connection = $state<StreamState>({ kind: 'connecting' });
  /** The supervisor does not answer. */
  away = $state(false);
  /** The output stands still; what comes is not shown. */
  paused = $state(false);
  readonly fresh = $derived(this.connection.kind === 'live' && !this.away && this.state !== null);

  private names: readonly string[] = [];
  private text = '';
  private watchers = 0;
  private readonly stream = new Stream(
    browserWorld('/web/cluster/stream'),
    (frame) => this.take(frame as unknown as ClusterFrame),
    (state) => this.become(state),
  );

  constructor() {
    addEventListener('offline', () => this.watchers > 0 && this.stream.lost());
    addEventListener('online', () => this.watchers > 0 && this.stream.restart());
  }

  /** Keep everything fresh until the returned function is called. */
  watch(): () => void {
    this.watchers += 1;
    if (this.watchers === 1) this.stream.restart();
    return () => {
      this.watchers -= 1;
      if (this.watchers > 0) return;
      this.stream.stop();
      this.state = this.history = null;
      this.lines = this.audit = [];
    };
  }

  reconnect(): void {
    if (this.watchers > 0) this.stream.restart();
  }

  /** Show the output of these applications or instances (none: of all) that has this text. */
  listen(names: readonly string[], text: string): void {
    this.names = names;
    this.text = text;
    this.ask();
  }

  act(action: Action): Promise<{ id: string; operation: number }> {
    return call('POST', '/web/cluster/operations', action);
  }

  async causes(name: string): Promise<Cause[]> {
    const found = await call<Description>('GET', `/web/cluster/processes/${encodeURIComponent(name)}`);
    return found.instances.find((one) => one.name === name)?.causes ?? [];
  }

  private become(state: StreamState): void {
    this.connection = state;
    if (state.kind === 'live') this.ask();
  }

  private ask(): void {
    this.leftOut = 0;
    this.stream.tell({ action: 'logs', names: this.names, text: this.text });
  }

  private take(frame: ClusterFrame): void {
    if (frame.type === 'away') this.away = true;
    else if (frame.type === 'history') this.history = extend(this.history, frame);
    else if (frame.type === 'audit') void this.loadAudit();
    else if (frame.type === 'state') {
      this.away = false;
      this.state = frame;
    } else if (frame.type === 'logs' && (frame.whole || !this.paused)) {
      this.lines = withLines(this.lines, frame.lines, frame.whole);
      this.leftOut += frame.left_out;
    }
  }

  private async loadAudit(): Promise<void> {
    try {
      this.audit = await call<AuditEntry[]>('GET', '/web/cluster/audit');
    } catch {
      return; // the next change asks again, and the connection says itself what is wrong
    }
  }
}

export const cluster = new Cluster();
