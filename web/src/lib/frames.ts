/**
 * Frames of the stream gathered until the browser draws, so that the page changes once per picture
 * however many come. What does not fit into BUDGET_MS waits for the next picture, and so no task is
 * long. Order is kept.
 */
export const BUDGET_MS = 8;
/** A page that is not seen draws nothing, so it is brought up to date this often. */
export const HIDDEN_MS = 250;

export interface Pictures {
  /** Call `run` before the next picture is drawn. */
  next(run: () => void): void;
  nowMs(): number;
}

export class Gathered<Item> {
  private items: Item[] = [];
  private planned = false;

  constructor(
    private readonly pictures: Pictures,
    private readonly take: (item: Item) => void,
    private readonly done: () => void,
  ) {}

  add(item: Item): void {
    this.items.push(item);
    this.plan();
  }

  /** Take everything that waits at once: before something that must come after it. */
  flush(): void {
    const items = this.items;
    this.items = [];
    for (const item of items) this.take(item);
    if (items.length > 0) this.done();
  }

  private plan(): void {
    if (this.planned) return;
    this.planned = true;
    this.pictures.next(() => this.run());
  }

  private run(): void {
    this.planned = false;
    const end = this.pictures.nowMs() + BUDGET_MS;
    let taken = 0;
    for (const item of this.items) {
      this.take(item);
      taken += 1;
      if (taken % 16 === 0 && this.pictures.nowMs() > end) break;
    }
    if (taken === 0) return;
    this.items.splice(0, taken);
    this.done();
    if (this.items.length > 0) this.plan();
  }
}

export const browserPictures: Pictures = {
  next: (run) => {
    if (document.hidden) setTimeout(run, HIDDEN_MS);
    else requestAnimationFrame(run);
  },
  nowMs: () => performance.now(),
};
