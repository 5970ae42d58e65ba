/** What the page /cluster shows, as the server tells it, and what follows from it. Pure. */

export type ProcessState =
  | 'idle' | 'starting' | 'ready' | 'stalled' | 'aborting'
  | 'backoff' | 'errored' | 'stopping' | 'stopped';

export interface ProcessRow {
  app: string;
  name: string;
  pid: number | null;
  slot: number;
  generation: number;
  kind: string;
  state: ProcessState;
  restarts: number;
  uptime_s: number;
  last_exit: string;
  status: string;
  rss: number;
  cpu_percent: number;
  connections: number;
  websockets: number;
  loop_lag_ms: number;
  accepting: boolean;
  tail: string[];
}

export interface ApplicationRow {
  name: string;
  kind: string;
  wanted: number;
  ready: number;
  generation: number;
  stopped: boolean;
  exclusive: boolean;
  problem: string;
  restarts: Record<string, number>;
  queued: number;
  addresses: Record<string, string>;
}

export type Outcome =
  | 'asked' | 'accepted' | 'running' | 'done' | 'failed' | 'rolled_back' | 'refused' | 'unknown';

export interface OperationRow {
  id: number;
  kind: string;
  name: string;
  state: Outcome;
  steps: { at: number; text: string }[];
  reason: string;
}

export interface StateFrame {
  type: 'state';
  supervisor: number;
  rss: number;
  rows: ProcessRow[];
  applications: ApplicationRow[];
  operations: OperationRow[];
}

export const FIELDS = [
  'ready', 'cpu_percent', 'rss', 'connections', 'websockets', 'lag_ms', 'requests', 'errors', 'restarts',
] as const;
export type Field = (typeof FIELDS)[number];
export type Series = readonly (number | null)[];

export interface History {
  period_s: number;
  /** Number of the first point and of the one that comes next. */
  first: number;
  next: number;
  /** When the newest point was told, in Unix time. */
  at: number;
  applications: Record<string, Record<Field, Series>>;
}

export interface LogLine {
  at: string;
  instance: string;
  text: string;
}

export interface AuditEntry {
  id: string;
  at: number;
  who: string;
  peer: string;
  what: 'reload' | 'restart' | 'scale';
  name: string;
  instances: string;
  outcome: Outcome;
  reason: string;
  operation: number;
  ended: number | null;
}

export type ClusterFrame =
  | StateFrame
  | ({ type: 'history' } & History)
  | { type: 'logs'; whole: boolean; left_out: number; lines: LogLine[] }
  | { type: 'audit' }
  | { type: 'away' }
  | { type: 'pong' };

/** Points of an hour. */
export const POINTS_MAX = 360;
/** The least that a chart spans: five minutes, so that what has just begun is not a speck. */
const SPAN_MIN = 30;
/** Lines of output that the page keeps. */
export const LINES_MAX = 500;

/** What is known with the points that came: put behind, or in place of it where they do not fit. */
export function extend(known: History | null, news: History): History {
  if (known === null || news.first !== known.next || news.first === 0) return news;
  const names = new Set([...Object.keys(known.applications), ...Object.keys(news.applications)]);
  const [before, after] = [known.next - known.first, news.next - news.first];
  const applications: Record<string, Record<Field, Series>> = {};
  for (const name of names) {
    const found = {} as Record<Field, Series>;
    for (const field of FIELDS) {
      const old = known.applications[name]?.[field] ?? missing(before);
      const fresh = news.applications[name]?.[field] ?? missing(after);
      found[field] = [...old, ...fresh].slice(-POINTS_MAX);
    }
    applications[name] = found;
  }
  return { ...news, first: Math.max(known.first, news.next - POINTS_MAX), applications };
}

function missing(count: number): Series {
  return Array.from({ length: count }, () => null);
}

/** One line for an application, or for all of them together: the sum, of lag the worst. */
export function together(history: History, field: Field, only: string): Series {
  const chosen = Object.entries(history.applications)
    .filter(([name]) => only === '' || name === only)
    .map(([, fields]) => fields[field]);
  const length = Math.max(0, ...chosen.map((values) => values.length));
  return Array.from({ length }, (_, at) => {
    const known = chosen.map((values) => values[at]).filter((value) => typeof value === 'number');
    if (known.length === 0) return null;
    return field === 'lag_ms' ? Math.max(...known) : known.reduce((sum, value) => sum + value, 0);
  });
}

/** How fast a count grows, by the second; not known where it began anew. */
export function rate(counts: Series, periodS: number): Series {
  return counts.map((value, at) => {
    const before = at === 0 ? null : (counts[at - 1] ?? null);
    return value === null || before === null || value < before ? null : (value - before) / periodS;
  });
}

/** SVG polylines of a series, one for each stretch without a gap, newest at the right edge. */
export function stretches(values: Series, width: number, height: number, top: number): string[] {
  const found: string[][] = [[]];
  const step = width / (Math.max(SPAN_MIN, values.length) - 1);
  values.forEach((value, at) => {
    if (value === null) {
      found.push([]);
      return;
    }
    const x = width - (values.length - 1 - at) * step;
    const y = height - (top > 0 ? value / top : 0) * height;
    found[found.length - 1]?.push(`${x.toFixed(1)},${y.toFixed(1)}`);
  });
  return found.filter((points) => points.length > 0).map((points) => points.join(' '));
}

/** The newest value that is known, if it is one of the last points. */
export function newest(values: Series): number | null {
  return values.at(-1) ?? null;
}

export function most(values: Series): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : Math.max(...known);
}

const BYTES = ['B', 'KB', 'MB', 'GB', 'TB'] as const;

export function showBytes(bytes: number): string {
  let power = 0;
  let value = bytes;
  while (value >= 1000 && power < BYTES.length - 1) {
    value /= 1024;
    power += 1;
  }
  return `${value < 10 && power > 0 ? value.toFixed(1) : Math.round(value)} ${BYTES[power] ?? ''}`;
}

export function showNumber(value: number): string {
  if (value !== 0 && Math.abs(value) < 10 && !Number.isInteger(value)) return value.toFixed(1);
  return Math.round(value).toLocaleString('en-US');
}

/** 42 s, 5 m, 3 h 12 m, 4 d 3 h. */
export function showSpan(seconds: number): string {
  const [m, h, d] = [60, 3_600, 86_400];
  if (seconds < m) return `${seconds} s`;
  if (seconds < h) return `${Math.floor(seconds / m)} m`;
  if (seconds < d) return `${Math.floor(seconds / h)} h ${Math.floor((seconds % h) / m)} m`;
  return `${Math.floor(seconds / d)} d ${Math.floor((seconds % d) / h)} h`;
}

/** How a state is meant: as it should be, on its way, or bad. */
export function mood(state: ProcessState | Outcome): 'good' | 'warn' | 'bad' | 'soft' {
  if (state === 'ready' || state === 'done') return 'good';
  if (state === 'errored' || state === 'aborting' || state === 'failed' || state === 'refused') return 'bad';
  if (state === 'stopped' || state === 'idle') return 'soft';
  return 'warn';
}

/** What a structured line says first, then the rest of it; any other line as it is. */
export function readable(text: string): string {
  if (!text.startsWith('{')) return text;
  try {
    const found = JSON.parse(text) as Record<string, unknown>;
    const rest = Object.entries(found).filter(
      ([name, value]) => !SAID.has(name) && value !== '' && value !== null,
    );
    const words = rest.map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`);
    return [String(found['event'] ?? ''), ...words].join('  ').trim();
  } catch {
    return text; // cut, or not JSON after all
  }
}

/** What stands beside the line anyway. */
const SAID = new Set(['event', 'timestamp', 'process', 'pid', 'level', 'logger']);

/** How long an operation took or has been under way, in seconds. */
export function spent(steps: readonly { at: number }[]): number {
  return (steps.at(-1)?.at ?? 0) - (steps[0]?.at ?? 0);
}

/** The lines that are kept once these came. */
export function withLines(kept: readonly LogLine[], news: readonly LogLine[], whole: boolean): readonly LogLine[] {
  return (whole ? [...news] : [...kept, ...news]).slice(-LINES_MAX);
}

/** What a person typed as a number of instances, if the supervisor would take it. */
export function instancesOf(text: string): number | null {
  const trimmed = text.trim();
  if (!/^\d{1,3}$/.test(trimmed)) return null;
  const count = Number(trimmed);
  return count >= 1 && count <= 256 ? count : null;
}
