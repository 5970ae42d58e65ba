/** Requests about one's own account that only the pages make. */
import { ApiRefusal, ApiUnreachable, call } from './api';
import { keep, kept } from './kept';
import { t, words } from './language.svelte';
import { refusalText } from './refusals';

export interface RegistrationRules {
  registration: 'open' | 'invite' | 'closed';
  name_pattern: string;
  password_length_min: number;
  password_length_max: number;
}

export interface Key {
  key_id: string;
}

export interface NewKey extends Key {
  secret: string;
}

export interface Configuration {
  suspend_trade: boolean;
  fractional_trading: boolean;
  ptp_no_exception_entry: boolean;
  no_shorting: boolean;
}

export type Choice = Exclude<keyof Configuration, 'no_shorting'>;

export interface Curve {
  timestamp: number[];
  equity: number[];
  profit_loss: number[];
  base_value: number;
  timeframe: string;
}

export interface Activity {
  id: string;
  activity_type: 'FILL' | 'CSD' | 'CSW' | 'JNLS';
  /** Of fills. */
  transaction_time?: string;
  side?: 'buy' | 'sell';
  price?: string;
  qty?: string;
  symbol?: string;
  /** Of transfers. */
  date?: string;
  net_amount?: string;
}

export const RANGES = ['1D', '1W', '1M', '3M', '1A'] as const;
export type Range = (typeof RANGES)[number];
const TIMEFRAMES: Record<Range, string> = {
  '1D': '1Min',
  '1W': '15Min',
  '1M': '1H',
  '3M': '1D',
  '1A': '1D',
};

export const PAGE_SIZE = 50;
export const ACTIVITY_KINDS = {
  all: 'FILL,CSD,CSW,JNLS',
  fills: 'FILL',
  transfers: 'CSD,CSW,JNLS',
} as const;
export type ActivityKind = keyof typeof ACTIVITY_KINDS;

export const registration = () => call<RegistrationRules>('GET', '/web/registration');
export const keys = () => call<Key[]>('GET', '/web/keys');
export const makeKey = () => call<NewKey>('POST', '/web/keys');
export const revokeKey = (id: string) =>
  call<null>('DELETE', `/web/keys/${encodeURIComponent(id)}`);
export const changePassword = (current: string, fresh: string) =>
  call<null>('PUT', '/web/password', { current, new: fresh });
export const configuration = () => call<Configuration>('GET', '/v2/account/configurations');
export const configure = (change: Partial<Record<Choice, boolean>>) =>
  call<Configuration>('PATCH', '/v2/account/configurations', change);
export const curve = (range: Range) =>
  call<Curve>(
    'GET',
    `/v2/account/portfolio/history?period=${range}&timeframe=${TIMEFRAMES[range]}` +
      '&intraday_reporting=continuous&pnl_reset=no_reset',
  );
export const activities = (kind: ActivityKind, after: string | null) =>
  call<Activity[]>(
    'GET',
    `/v2/account/activities?activity_types=${ACTIVITY_KINDS[kind]}&page_size=${PAGE_SIZE}` +
      (after === null ? '' : `&page_token=${encodeURIComponent(after)}`),
  );

const TRY_STORED_AS = 'madang.sign-up';

/**
 * Sign up. The try keeps its id in the browser until it is known to have ended, so that a repeated
 * one goes on where it was, even after the page was loaded anew.
 */
export async function signUp(name: string, password: string, invitation: string): Promise<void> {
  const body = {
    name,
    password,
    request_id: currentTry(),
    ...(invitation === '' ? {} : { invitation }),
  };
  await call<null>('POST', '/web/accounts', body);
  unkept = '';
  keep(TRY_STORED_AS, null);
}

let unkept = '';

function currentTry(): string {
  const stored = kept(TRY_STORED_AS) ?? unkept;
  if (/^[0-9a-f]{32}$/.test(stored)) return stored;
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  unkept = [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  keep(TRY_STORED_AS, unkept);
  return unkept;
}

/** What to say of a request that failed; `unauthorized` is what a 401 means there. */
export function problemText(error: unknown, unauthorized: string): string {
  if (error instanceof ApiUnreachable) return t('unreachable');
  if (!(error instanceof ApiRefusal)) return error instanceof Error ? error.message : String(error);
  if (error.status === 401) return unauthorized;
  if (error.status >= 500) return t('marketAway');
  return error.status === 429 ? t('tooManyTries') : refusalText(error.message, words.language);
}
