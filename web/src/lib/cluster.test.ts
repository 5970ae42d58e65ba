import { describe, expect, it } from 'vitest';
import {
  extend, FIELDS, instancesOf, LINES_MAX, most, newest, POINTS_MAX, rate, readable, showBytes, showNumber,
  showSpan, stretches, together, withLines, type Field, type History, type Series,
} from './cluster';

function history(first: number, values: Record<string, Series>): History {
  const lengths = Object.values(values).map((series) => series.length);
  const applications = Object.fromEntries(
    Object.entries(values).map(([name, series]) => [
      name,
      Object.fromEntries(FIELDS.map((field) => [field, series])) as Record<Field, Series>,
    ]),
  );
  return { period_s: 10, first, next: first + Math.max(...lengths), at: 0, applications };
}

describe('extend', () => {
  it('puts points behind those that are known', () => {
    const found = extend(history(0, { web: [1, 2] }), history(2, { web: [3] }));
    expect(found.applications['web']?.cpu_percent).toEqual([1, 2, 3]);
    expect([found.first, found.next]).toEqual([0, 3]);
  });

  it('keeps an hour', () => {
    const full = history(0, { web: Array.from({ length: POINTS_MAX }, (_, at) => at) });
    const found = extend(full, history(POINTS_MAX, { web: [-1] }));
    expect(found.applications['web']?.rss).toHaveLength(POINTS_MAX);
    expect(found.applications['web']?.rss.at(-1)).toBe(-1);
    expect(found.first).toBe(1);
  });

  it('has gaps where an application was not there, before and after', () => {
    const found = extend(history(0, { gone: [1, 2] }), history(2, { late: [3] }));
    expect(found.applications['gone']?.rss).toEqual([1, 2, null]);
    expect(found.applications['late']?.rss).toEqual([null, null, 3]);
  });

  it('begins anew where points do not follow: another supervisor, or a break', () => {
    expect(extend(history(0, { web: [1, 2] }), history(5, { web: [9] })).applications['web']?.rss).toEqual([9]);
    expect(extend(history(0, { web: [] }), history(0, { web: [7] })).applications['web']?.rss).toEqual([7]);
  });
});

describe('series', () => {
  it('are summed over applications, of lag the worst, gaps left out', () => {
    const found = history(0, { a: [1, null, null], b: [2, 5, null] });
    expect(together(found, 'rss', '')).toEqual([3, 5, null]);
    expect(together(found, 'lag_ms', '')).toEqual([2, 5, null]);
    expect(together(found, 'rss', 'a')).toEqual([1, null, null]);
  });

  it('become rates, not known across a gap or a new beginning', () => {
    expect(rate([10, 30, null, 40, 5, 25], 10)).toEqual([null, 2, null, null, null, 2]);
  });

  it('end at the right edge and are broken at gaps', () => {
    const lines = stretches([0, 10, null, 5], 290, 100, 10);
    expect(lines).toEqual(['260.0,100.0 270.0,0.0', '290.0,50.0']);
    expect(stretches([null], 290, 100, 10)).toEqual([]);
  });

  it('tell the newest and the most, or nothing', () => {
    expect([newest([1, null]), newest([1, 2]), most([3, null, 1]), most([null])]).toEqual([null, 2, 3, null]);
  });
});

describe('texts', () => {
  it('shows sizes, numbers and spans as people read them', () => {
    expect([0, 999, 1023, 70_684_672, 5_368_709_120].map(showBytes)).toEqual(['0 B', '999 B', '1.0 KB', '67 MB', '5.0 GB']);
    expect([0, 0.84, 12.4, 1234].map(showNumber)).toEqual(['0', '0.8', '12', '1,234']);
    expect([42, 300, 11_520, 356_400].map(showSpan)).toEqual(['42 s', '5 m', '3 h 12 m', '4 d 3 h']);
  });

  it('makes structured lines readable and leaves all others alone', () => {
    expect(readable('{"event":"ready","pid":3,"name":"web-0","state":""}')).toBe('ready  name=web-0');
    expect(readable('{"event":"cut')).toBe('{"event":"cut');
    expect(readable('plain {}')).toBe('plain {}');
  });

  it('takes as instances what the supervisor would', () => {
    expect(['1', ' 12 ', '256'].map(instancesOf)).toEqual([1, 12, 256]);
    expect(['0', '257', '-1', '+2', '1.5', '', 'max', '1e2'].map(instancesOf)).toEqual(Array(8).fill(null));
  });
});

describe('lines', () => {
  const line = (text: string) => ({ at: '', instance: '', text });

  it('are kept up to a limit, and begun anew with a new filter', () => {
    const many = Array.from({ length: LINES_MAX }, (_, at) => line(String(at)));
    expect(withLines(many, [line('new')], false).at(-1)?.text).toBe('new');
    expect(withLines(many, [line('new')], false)).toHaveLength(LINES_MAX);
    expect(withLines(many, [line('only')], true)).toEqual([line('only')]);
  });
});
