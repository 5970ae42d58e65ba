/** Whole seconds for countdowns, ticking only while something on the page looks at them. */
import { createSubscriber } from 'svelte/reactivity';

const TICK_MS = 250;

const subscribe = createSubscriber((update) => {
  const timer = setInterval(update, TICK_MS);
  return () => clearInterval(timer);
});

export function nowMs(): number {
  subscribe();
  return Date.now();
}
