import { describe, expect, it } from 'vitest';
import css from './tokens.css?raw';

type Light = 'light' | 'dark';
type Colour = readonly [number, number, number];

/** WCAG 2.2 AA: text, and what marks the edge of a control. */
const TEXT_MIN = 4.5;
const EDGE_MIN = 3;
/** Distance in CIE L*a*b* from which two colours of figures are plainly not the same. */
const APART_MIN = 25;

/** Machado, Oliveira and Fernandes 2009, severity 1. */
const EYES: Record<string, readonly (readonly number[])[]> = {
  protanopia: [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
  ],
  deuteranopia: [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881],
  ],
  tritanopia: [
    [1.255528, -0.076749, -0.178779],
    [-0.078411, 0.930809, 0.147602],
    [0.004733, 0.691367, 0.3039],
  ],
};

const [everywhere = '', korean = ''] = css.split(':root:lang(ko)');

function tokens(language: string, light: Light): Map<string, Colour> {
  const found = new Map<string, Colour>();
  const alias: [string, string][] = [];
  for (const text of language === 'ko' ? [everywhere, korean] : [everywhere]) {
    const pairs = /(--[\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);/g;
    for (const [, name = '', day = '', night = ''] of text.matchAll(pairs)) {
      found.set(name, linear(light === 'light' ? day : night));
    }
    for (const [, name = '', of = ''] of text.matchAll(/(--[\w-]+): var\((--[\w-]+)\);/g)) {
      alias.push([name, of]);
    }
  }
  for (const [name, of] of alias) found.set(name, found.get(of) as Colour);
  return found;
}

function linear(hex: string): Colour {
  const part = (at: number): number => {
    const value = parseInt(hex.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  };
  return [part(1), part(3), part(5)];
}

const luminance = ([r, g, b]: Colour): number => 0.2126 * r + 0.7152 * g + 0.0722 * b;

function contrast(a: Colour, b: Colour): number {
  const [low = 0, high = 0] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
}

function lab(colour: Colour): number[] {
  const [r, g, b] = colour;
  const bend = (t: number): number => (t > 0.008856 ? Math.cbrt(t) : 7.787 * t + 16 / 116);
  const x = bend((0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.95047);
  const y = bend(luminance(colour));
  const z = bend((0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.08883);
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}

function seen(colour: Colour, eye: readonly (readonly number[])[]): Colour {
  const [r, g, b] = eye.map((row) =>
    Math.min(1, Math.max(0, row.reduce((sum, factor, i) => sum + factor * (colour[i] ?? 0), 0))),
  );
  return [r ?? 0, g ?? 0, b ?? 0];
}

const apart = (a: Colour, b: Colour): number =>
  Math.hypot(...lab(a).map((value, i) => value - (lab(b)[i] ?? 0)));

const SURFACES = ['--ground', '--panel', '--raised', '--hover'];
const ON_ANY_SURFACE = ['--ink', '--soft', '--accent', '--up', '--down'];
const PAIRS = [
  ['--on-accent', '--accent'],
  ['--accent', '--accent-ground'],
  ['--on-side', '--buy'],
  ['--on-side', '--sell'],
  ['--up', '--up-ground'],
  ['--down', '--down-ground'],
  ['--ink', '--up-ground'],
  ['--ink', '--down-ground'],
  ['--good', '--good-ground'],
  ['--warn', '--warn-ground'],
  ['--bad', '--bad-ground'],
  ['--bad', '--panel'],
  ['--good', '--panel'],
] as const;

describe.each(['en', 'ko'])('colours in %s', (language) => {
  describe.each<Light>(['light', 'dark'])('%s', (light) => {
    const found = tokens(language, light);
    const at = (name: string): Colour => {
      const colour = found.get(name);
      if (colour === undefined) throw new Error(`tokens.css has no colour ${name}`);
      return colour;
    };
    const pairs = [
      ...PAIRS,
      ...ON_ANY_SURFACE.flatMap((text) => SURFACES.map((surface) => [text, surface] as const)),
    ];

    it.each(pairs)('%s can be read on %s', (text, ground) => {
      expect(contrast(at(text), at(ground))).toBeGreaterThanOrEqual(TEXT_MIN);
    });

    it.each(['--ground', '--panel'])('edges and the focus ring are seen on %s', (ground) => {
      expect(contrast(at('--edge'), at(ground))).toBeGreaterThanOrEqual(EDGE_MIN);
      expect(contrast(at('--focus'), at(ground))).toBeGreaterThanOrEqual(EDGE_MIN);
    });

    it.each(Object.entries(EYES))('rising and falling are apart with %s', (_, eye) => {
      expect(apart(seen(at('--up'), eye), seen(at('--down'), eye))).toBeGreaterThan(APART_MIN);
    });
  });
});
