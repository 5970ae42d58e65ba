/** Which page is shown. Moving between pages keeps the document, and so the session and the stream. */

export const SECTIONS = ['overview', 'activity', 'keys', 'settings'] as const;
export type Section = (typeof SECTIONS)[number];

export type Page =
  | { name: 'home' }
  | { name: 'trade'; symbol: string }
  | { name: 'trading' }
  | { name: 'account'; section: Section }
  | { name: 'cluster' }
  | { name: 'signin' }
  | { name: 'signup' }
  | { name: 'missing' };

class Router {
  path = $state(location.pathname);
  /** What stands behind the path; the page that reads it knows what it means. */
  query = $state(location.search);

  readonly page: Page = $derived(toPage(this.path));

  constructor() {
    addEventListener('popstate', () => this.arrive());
  }

  go(target: string): void {
    if (target === this.path + this.query) return;
    history.pushState(null, '', target);
    this.arrive();
    scrollTo(0, 0);
  }

  /** As `go`, but going back does not come here again. */
  replace(target: string): void {
    history.replaceState(null, '', target);
    this.arrive();
  }

  /** For `onclick` of links: a plain click moves inside the page, every other stays the browser's. */
  readonly follow = (event: MouseEvent & { currentTarget: HTMLAnchorElement }): void => {
    if (event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const url = new URL(event.currentTarget.href);
    this.go(url.pathname + url.search);
  };

  private arrive(): void {
    this.path = location.pathname;
    this.query = location.search;
  }
}

export function toPage(path: string): Page {
  if (path === '/' || path === '/index.html') return { name: 'home' };
  if (path === '/signin' || path === '/signup') return { name: path === '/signin' ? 'signin' : 'signup' };
  if (path === '/trade' || path === '/trade/') return { name: 'trading' };
  if (path === '/cluster' || path === '/cluster/') return { name: 'cluster' };
  const account = /^\/account(?:\/([a-z]+))?\/?$/.exec(path);
  if (account) {
    const section = SECTIONS.find((one) => one === (account[1] ?? 'overview'));
    return section === undefined ? { name: 'missing' } : { name: 'account', section };
  }
  const symbol = /^\/trade\/([^/]+)\/?$/.exec(path)?.[1];
  const decoded = symbol === undefined ? null : decode(symbol);
  return decoded === null ? { name: 'missing' } : { name: 'trade', symbol: decoded.toUpperCase() };
}

function decode(part: string): string | null {
  try {
    return decodeURIComponent(part);
  } catch {
    return null; // a stray percent sign
  }
}

export function tradePath(symbol: string): string {
  return `/trade/${encodeURIComponent(symbol)}`;
}

export function accountPath(section: Section): string {
  return section === 'overview' ? '/account' : `/account/${section}`;
}

/** Where to go after signing in: `next` of the query, only ever a page of ours. */
export function nextPath(query: string): string {
  const next = new URLSearchParams(query).get('next') ?? '';
  return toPage(next).name === 'missing' ? '/account' : next;
}

export const router = new Router();
