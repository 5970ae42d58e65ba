/**
 * The account's own prices as lines of the chart. The library squeezes the label of a price that is
 * out of sight into the axis, at the level of another price; so such a line is taken away, and its
 * words are handed out to be shown at the edge beyond which it lies.
 */
import type {
  CreatePriceLineOptions,
  IChartApi,
  IPriceLine,
  ISeriesApi,
  ISeriesPrimitive,
  Time,
} from 'lightweight-charts';

export interface Label {
  text: string;
  color: string;
}

/** What lies out of sight, the nearest first. */
export interface Beyond {
  above: readonly Label[];
  below: readonly Label[];
}

export const NOTHING_BEYOND: Beyond = { above: [], below: [] };

export interface OwnLine extends CreatePriceLineOptions {
  /** The price in words, for the edge. */
  priceText: string;
}

export type Place = 'inside' | 'above' | 'below' | 'unknown';

/** Where a coordinate lies in a picture of some height; downwards counts up. */
export function placeOf(y: number | null, height: number): Place {
  if (y === null || height <= 0) return 'unknown';
  if (y < 0) return 'above';
  return y > height ? 'below' : 'inside';
}

interface Held {
  options: OwnLine;
  line: IPriceLine;
  place: Place;
}

export class OwnLines implements ISeriesPrimitive<Time> {
  private held: Held[] = [];

  constructor(
    private readonly chart: IChartApi,
    private readonly series: ISeriesApi<'Candlestick'>,
    private readonly onBeyond: (beyond: Beyond) => void,
  ) {
    series.attachPrimitive(this);
  }

  show(wanted: readonly OwnLine[]): void {
    for (const { line } of this.held) this.series.removePriceLine(line);
    this.held = wanted.map((options) => ({
      options,
      line: this.series.createPriceLine({ ...options, ...visible(false) }),
      place: 'unknown' as const,
    }));
    this.place();
    this.tell();
  }

  /** Called by the chart before each picture: the scale may have moved. */
  updateAllViews(): void {
    if (this.place()) this.tell();
  }

  private place(): boolean {
    const { height } = this.chart.paneSize();
    let moved = false;
    for (const held of this.held) {
      const place = placeOf(this.series.priceToCoordinate(held.options.price), height);
      if (place === held.place) continue;
      held.place = place;
      held.line.applyOptions(visible(place === 'inside'));
      moved = true;
    }
    return moved;
  }

  private tell(): void {
    const at = (place: Place, turn: 1 | -1) =>
      this.held
        .filter((held) => held.place === place)
        .sort((a, b) => turn * (a.options.price - b.options.price))
        .map(({ options }) => ({
          text: `${options.title ?? ''} ${options.priceText}`,
          color: options.color ?? '',
        }));
    this.onBeyond({ above: at('above', 1), below: at('below', -1) });
  }
}

const visible = (is: boolean) => ({ lineVisible: is, axisLabelVisible: is });
