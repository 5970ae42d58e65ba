import type { IChartApi, ISeriesApi } from 'lightweight-charts';
import { describe, expect, it } from 'vitest';
import { OwnLines, placeOf, type Beyond, type OwnLine } from './lines';

const HEIGHT = 100;

/** A chart that shows prices from `low` to `low` + 100, a pixel each. */
function drawn(low: number) {
  const scale = { low };
  const seen = new Map<number, boolean>();
  let beyond: Beyond = { above: [], below: [] };
  const series = {
    attachPrimitive: () => undefined,
    removePriceLine: () => undefined,
    priceToCoordinate: (price: number) => HEIGHT - (price - scale.low),
    createPriceLine: ({ price }: OwnLine) => ({
      applyOptions: (options: { lineVisible: boolean }) => seen.set(price, options.lineVisible),
    }),
  } as unknown as ISeriesApi<'Candlestick'>;
  const chart = { paneSize: () => ({ height: HEIGHT, width: 1 }) } as unknown as IChartApi;
  const lines = new OwnLines(chart, series, (found) => (beyond = found));
  return { lines, scale, seen, said: () => beyond };
}

const line = (price: number): OwnLine => ({ price, priceText: `${price}.00`, title: 'Buy 1', color: '' });
const texts = (labels: Beyond['above']) => labels.map(({ text }) => text);

describe('OwnLines', () => {
  it('draws what is in sight and names the rest at its edge, the nearest first', () => {
    const { lines, seen, said } = drawn(200);
    lines.show([line(150), line(250), line(320), line(180), line(310)]);
    expect([seen.get(250), seen.get(150), seen.get(320)]).toEqual([true, false, false]);
    expect(texts(said().above)).toEqual(['Buy 1 310.00', 'Buy 1 320.00']);
    expect(texts(said().below)).toEqual(['Buy 1 180.00', 'Buy 1 150.00']);
  });

  it('follows the scale', () => {
    const { lines, scale, seen, said } = drawn(200);
    lines.show([line(250)]);
    scale.low = 300;
    lines.updateAllViews();
    expect(seen.get(250)).toBe(false);
    expect(texts(said().below)).toEqual(['Buy 1 250.00']);
    lines.show([]);
    expect(said()).toEqual({ above: [], below: [] });
  });

  it('says nothing of a scale that is not there yet', () => {
    expect(placeOf(null, HEIGHT)).toBe('unknown');
    expect(placeOf(5, 0)).toBe('unknown');
    expect(placeOf(0, HEIGHT)).toBe('inside');
  });
});
