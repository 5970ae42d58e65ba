/** The symbol traded last, where the way to the trading page leads. */
import { keep, kept } from './kept';

const STORED_AS = 'madang.symbol';

class Recent {
  symbol = $state<string | null>(kept(STORED_AS));

  remember(symbol: string): void {
    if (symbol === this.symbol) return;
    this.symbol = symbol;
    keep(STORED_AS, symbol);
  }
}

export const recent = new Recent();
