/** Why something that a person asked for was not done, in their language. */
import { ApiRefusal } from './api';
import { t, words } from './language.svelte';
import { refusalText } from './refusals';

/** A definite no in words; what no answer came to is of an unknown outcome. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof ApiRefusal)) return t('outcomeUnknown');
  if (error.status === 401) return t('sessionOver');
  if (error.status === 429) return t('tooManyTries');
  // What the server's own parts said to each other is for its log, not for a person.
  if (error.status === 503) return t('marketAway');
  if (error.status >= 500) return t('outcomeUnknown');
  return refusalText(error.message, words.language);
}
