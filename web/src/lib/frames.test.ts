import { describe, expect, it } from 'vitest';
import { BUDGET_MS, Gathered } from './frames';

function gather(costMs: number) {
  const world = { now: 0, pictures: [] as (() => void)[], taken: [] as number[], shown: 0 };
  const gathered = new Gathered<number>(
    { next: (run) => world.pictures.push(run), nowMs: () => world.now },
    (item) => {
      world.now += costMs;
      world.taken.push(item);
    },
    () => (world.shown += 1),
  );
  const draw = () => world.pictures.splice(0).forEach((run) => run());
  return { gathered, world, draw };
}

describe('Gathered', () => {
  it('takes everything of one picture together, in order', () => {
    const { gathered, world, draw } = gather(0);
    for (let i = 0; i < 100; i++) gathered.add(i);
    expect(world.taken).toEqual([]);
    draw();
    expect(world.taken).toEqual(Array.from({ length: 100 }, (_, i) => i));
    expect([world.shown, world.pictures.length]).toEqual([1, 0]);
  });

  it('leaves to the next picture what does not fit, and loses nothing', () => {
    const { gathered, world, draw } = gather(0.1);
    for (let i = 0; i < 1_000; i++) gathered.add(i);
    let longest = 0;
    while (world.pictures.length > 0) {
      const before = world.now;
      draw();
      longest = Math.max(longest, world.now - before);
    }
    expect(world.taken).toEqual(Array.from({ length: 1_000 }, (_, i) => i));
    expect(longest).toBeLessThan(2 * BUDGET_MS);
    expect(world.shown).toBeGreaterThan(5);
  });

  it('takes all at once before a break', () => {
    const { gathered, world, draw } = gather(1);
    for (let i = 0; i < 50; i++) gathered.add(i);
    gathered.flush();
    expect(world.taken).toHaveLength(50);
    draw();
    expect([world.taken.length, world.shown]).toEqual([50, 1]);
  });
});
