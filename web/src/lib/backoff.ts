/** How long to wait before attempt `attempt` (0, 1, …): doubling, capped, half of it random. */
export const FIRST_MS = 250;
export const LAST_MS = 8_000;

export function waitMs(attempt: number, random: () => number): number {
  const whole = Math.min(LAST_MS, FIRST_MS * 2 ** Math.min(attempt, 16));
  return Math.round(whole / 2 + (whole / 2) * random());
}
