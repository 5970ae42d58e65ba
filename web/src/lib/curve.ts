/** Geometry of the account's curve. Positions on the screen are floats; amounts stay text. Pure. */
import type { Curve } from './person';

export interface Point {
  /** Seconds since the epoch. */
  time: number;
  /** The amount as it came, and where it lies. */
  equity: string;
  profit: string;
  value: number;
}

/** The points from the first that holds money on: before there is any, there is nothing to see. */
export function pointsOf(curve: Curve): Point[] {
  const points = curve.timestamp.map((time, i) => {
    const value = curve.equity[i] ?? 0;
    return { time, value, equity: plain(value), profit: plain(curve.profit_loss[i] ?? 0) };
  });
  const first = points.findIndex((point) => point.value !== 0);
  return first < 0 ? [] : points.slice(first);
}

/** The digits of a number of the JSON as they stood there, never in powers of ten. */
export function plain(value: number): string {
  const text = String(value);
  return text.includes('e') ? value.toFixed(6) : text;
}

export interface Scale {
  low: number;
  high: number;
  /** Where lines lie, lowest first. */
  ticks: number[];
}

/** A span with some air around the values, and about `most` round lines in it. */
export function scaleOf(values: readonly number[], most: number): Scale {
  const [least, greatest] = [Math.min(...values), Math.max(...values)];
  const span = greatest - least || Math.max(Math.abs(greatest) * 0.02, 1);
  const air = span * 0.08;
  const [low, high] = [least - air, greatest + air];
  const rough = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 5, 10].find((one) => one * power >= rough) ?? 10) * power;
  const ticks: number[] = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high; tick += step) ticks.push(tick);
  return { low, high, ticks };
}

/** The index of the point nearest to a share of the width, 0 to 1. */
export function nearest(points: readonly Point[], share: number): number {
  return Math.max(0, Math.min(points.length - 1, Math.round(share * (points.length - 1))));
}
