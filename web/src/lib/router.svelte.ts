/** Which page is shown. Moving between pages keeps the document, and so the session and the stream. */

export type Page = { name: 'home' } | { name: 'trade'; symbol: string } | { name: 'missing' };

class Router {
  path = $state(location.pathname);

  readonly page: Page = $derived(toPage(this.path));

  constructor() {
    addEventListener('popstate', () => (this.path = location.pathname));
  }

  go(path: string): void {
    if (path === this.path) return;
    history.pushState(null, '', path);
    this.path = path;
    scrollTo(0, 0);
  }

  /** For `onclick` of links: a plain click moves inside the page, every other stays the browser's. */
  readonly follow = (event: MouseEvent & { currentTarget: HTMLAnchorElement }): void => {
    if (event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    this.go(new URL(event.currentTarget.href).pathname);
  };
}

export function toPage(path: string): Page {
  if (path === '/' || path === '/index.html') return { name: 'home' };
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

export const router = new Router();
