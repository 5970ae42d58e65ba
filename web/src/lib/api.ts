/**
 * Requests to the server this page came from. Signed in by cookie, so every unsafe method carries
 * the CSRF token back. A refusal becomes an ApiRefusal with the server's words; a request whose fate
 * is unknown becomes an ApiUnreachable, and the difference matters for orders.
 */
import type { Account, Asset, Order, Position, Session, SymbolRow } from './messages';
import type { OrderRequest } from './ticket';

const TIMEOUT_MS = 10_000;
const ORDERS_LIMIT = 500;
/** How often and how long apart to ask what became of an order whose answer was lost. */
const ASK_WAITS_MS = [300, 700, 1_500, 3_000, 5_000] as const;

export class ApiRefusal extends Error {
  constructor(
    readonly status: number,
    readonly code: number,
    message: string,
  ) {
    super(message);
  }
}

/** No answer, or one that says the outcome is unknown. */
export class ApiUnreachable extends Error {}

/** Ask the server; raises ApiRefusal or ApiUnreachable. */
export async function call<Answer>(method: string, path: string, body?: unknown): Promise<Answer> {
  const headers: Record<string, string> = { Accept: 'application/json' };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  if (method !== 'GET') headers['X-CSRF-Token'] = cookie('madang_csrf');
  let response: Response;
  let text: string;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: body === undefined ? null : JSON.stringify(body),
      credentials: 'same-origin',
      cache: 'no-store',
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    text = await response.text();
  } catch (error) {
    throw new ApiUnreachable(String(error));
  }
  const value = decode(text);
  if (response.ok) return value as Answer;
  const { code, message } = (value ?? {}) as { code?: number; message?: string };
  const said = message ?? `HTTP ${response.status}`;
  if (isOutcomeUnknown(response.status, said)) throw new ApiUnreachable(said);
  throw new ApiRefusal(response.status, code ?? 0, said);
}

/** A gateway's own error, or our 503 that says so; every other 503 is a definite no. */
function isOutcomeUnknown(status: number, message: string): boolean {
  return status === 502 || status === 504 || (status === 503 && /unknown/i.test(message));
}

function decode(text: string): unknown {
  try {
    return text === '' ? null : JSON.parse(text);
  } catch {
    return null;
  }
}

function cookie(name: string): string {
  const found = document.cookie.split('; ').find((part) => part.startsWith(`${name}=`));
  return found ? decodeURIComponent(found.slice(name.length + 1)) : '';
}

export const signIn = (name: string, password: string) =>
  call<null>('POST', '/web/session', { name, password });
export const signOut = () => call<null>('DELETE', '/web/session');
export const symbols = () => call<SymbolRow[]>('GET', '/web/symbols');
export const account = () => call<Account>('GET', '/v2/account');
export const positions = () => call<Position[]>('GET', '/v2/positions');
export const asset = (symbol: string) =>
  call<Asset>('GET', `/v2/assets/${encodeURIComponent(symbol)}`);
export const orders = (status: 'open' | 'closed', limit = ORDERS_LIMIT) =>
  call<Order[]>('GET', `/v2/orders?status=${status}&limit=${limit}`);
export const cancel = (id: string) => call<null>('DELETE', `/v2/orders/${encodeURIComponent(id)}`);
export const cancelAll = () => call<{ id: string; status: number }[]>('DELETE', '/v2/orders');

/**
 * Who is signed in by the cookie, or null. That cookie cannot be read here, but the CSRF token comes
 * and goes with it: without one there is nobody to ask for.
 */
export async function session(): Promise<Session | null> {
  if (cookie('madang_csrf') === '') return null;
  try {
    return await call<Session>('GET', '/web/session');
  } catch (error) {
    if (error instanceof ApiRefusal && error.status === 401) return null;
    throw error;
  }
}

/**
 * Place an order. When the answer is lost the order may stand all the same, so it is looked up by
 * its client_order_id, which only this request has used, until the server knows or time is up.
 */
export async function placeOrder(request: OrderRequest): Promise<Order> {
  try {
    return await call<Order>('POST', '/v2/orders', request);
  } catch (error) {
    if (!(error instanceof ApiUnreachable)) throw error;
    const found = await lookUp(request.client_order_id);
    if (found === null) throw error;
    return found;
  }
}

async function lookUp(clientOrderId: string): Promise<Order | null> {
  const path = `/v2/orders:by_client_order_id?client_order_id=${encodeURIComponent(clientOrderId)}`;
  for (const ms of ASK_WAITS_MS) {
    await new Promise((resolve) => setTimeout(resolve, ms));
    try {
      return await call<Order>('GET', path);
    } catch (error) {
      if (error instanceof ApiRefusal && error.status !== 404) throw error;
    }
  }
  return null;
}
