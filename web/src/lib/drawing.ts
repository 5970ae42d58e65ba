/** Candles as lightweight-charts draws them: plain numbers, for pixels only. */
import {
  CandlestickSeries,
  createChart,
  CrosshairMode,
  HistogramSeries,
  LineStyle,
  TickMarkType,
  type CandlestickData,
  type HistogramData,
  type IChartApi,
  type ISeriesApi,
  type Time,
  type UTCTimestamp,
} from 'lightweight-charts';
import type { BarRow, Order, Position } from './messages';
import type { OwnLine } from './lines';
import { showPrice } from './show';

/** Colours as a canvas takes them, and the language of dates. */
export interface Look {
  up: string;
  down: string;
  ink: string;
  line: string;
  accent: string;
  language: string;
}

export interface Drawing {
  chart: IChartApi;
  candles: ISeriesApi<'Candlestick'>;
  volumes: ISeriesApi<'Histogram'>;
}

const VOLUME_OPACITY = 0.32;

/** An empty chart with candles above and volume below, in the box's own font. */
export function newChart(box: HTMLElement): Drawing {
  const chart = createChart(box, {
    autoSize: true,
    layout: {
      // The library's logo would need an inline style sheet, which the content policy forbids; the
      // page names and links it itself.
      attributionLogo: false,
      background: { color: 'transparent' },
      fontFamily: getComputedStyle(box).fontFamily,
      fontSize: 11,
    },
    crosshair: { mode: CrosshairMode.Normal },
    rightPriceScale: { borderVisible: false, scaleMargins: { top: 0.08, bottom: 0.24 } },
    timeScale: {
      borderVisible: false,
      timeVisible: true,
      secondsVisible: false,
      rightOffset: 5,
      minBarSpacing: 1,
    },
    kineticScroll: { mouse: false, touch: !matchMedia('(prefers-reduced-motion: reduce)').matches },
  });
  const volumes = chart.addSeries(HistogramSeries, {
    priceScaleId: '',
    priceFormat: { type: 'volume' },
    lastValueVisible: false,
    priceLineVisible: false,
  });
  volumes.priceScale().applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } });
  const candles = chart.addSeries(CandlestickSeries, { borderVisible: false });
  return { chart, candles, volumes };
}

export function toCandle(bar: BarRow): CandlestickData {
  const [open, high, low, close] = [bar.o, bar.h, bar.l, bar.c].map(Number) as [
    number,
    number,
    number,
    number,
  ];
  return { time: bar.t as UTCTimestamp, open, high, low, close };
}

export function toVolume(bar: BarRow, look: Look): HistogramData {
  const colour = Number(bar.c) >= Number(bar.o) ? look.up : look.down;
  return {
    time: bar.t as UTCTimestamp,
    value: Number(bar.v),
    color: colour.replace(/^rgb\((.*)\)$/, `rgba($1, ${VOLUME_OPACITY})`),
  };
}

/** Lines at the account's own prices: open orders with a price, and what a position cost. */
export function priceLines(
  symbol: string,
  orders: readonly Order[],
  position: Position | null,
  look: Look,
  text: { order: (order: Order) => string; average: string },
): OwnLine[] {
  const lines = orders
    .filter((order) => order.symbol === symbol)
    .flatMap((order) =>
      [order.limit_price, order.stop_price]
        .filter((price) => price !== null)
        .map((price) => ({
          price: Number(price),
          priceText: showPrice(price),
          color: order.side === 'buy' ? look.up : look.down,
          lineWidth: 1 as const,
          lineStyle: LineStyle.Dashed,
          title: text.order(order),
        })),
    );
  if (position === null) return lines;
  const average = {
    price: Number(position.avg_entry_price),
    priceText: showPrice(position.avg_entry_price),
    color: look.accent,
    lineWidth: 1 as const,
    lineStyle: LineStyle.Dotted,
    title: text.average,
  };
  return [...lines, average];
}

/** A candle's beginning in the reader's zone, or the day in the market's. */
export function showMoment(second: number, language: string, daily: boolean, zone?: string): string {
  const options: Intl.DateTimeFormatOptions = daily
    ? { year: 'numeric', month: 'short', day: 'numeric', timeZone: zone }
    : { month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' };
  return formatter(language, options).format(second * 1000);
}

/**
 * Marks of the time axis. The library takes days to begin at midnight UTC; here a day begins at the
 * reader's midnight, and candles of days carry the market's dates.
 */
export function tickFormatter(daily: boolean, zone?: string) {
  return (time: Time, kind: TickMarkType, language: string): string => {
    const moment = new Date(Number(time) * 1000);
    if (daily) return formatter(language, { ...DATE_MARKS[kind], timeZone: zone }).format(moment);
    const midnight = moment.getHours() === 0 && moment.getMinutes() === 0;
    return formatter(language, midnight ? DAY_MARK : TIME_MARK).format(moment);
  };
}

const DAY_MARK: Intl.DateTimeFormatOptions = { month: 'short', day: 'numeric' };
const TIME_MARK: Intl.DateTimeFormatOptions = {
  hour: '2-digit',
  minute: '2-digit',
  hourCycle: 'h23',
};
const DATE_MARKS: Partial<Record<TickMarkType, Intl.DateTimeFormatOptions>> = {
  [TickMarkType.Year]: { year: 'numeric' },
  [TickMarkType.Month]: { month: 'short' },
  [TickMarkType.DayOfMonth]: DAY_MARK,
};

/** Making one is slow, and every candle that is pointed at asks for one. */
const formatters = new Map<string, Intl.DateTimeFormat>();

function formatter(language: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const name = language + JSON.stringify(options);
  let found = formatters.get(name);
  if (!found) formatters.set(name, (found = new Intl.DateTimeFormat(language, options)));
  return found;
}
