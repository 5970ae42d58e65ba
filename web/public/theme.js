// Runs before the first paint, so that no page flashes in the wrong light or language.
// A file of its own: the content policy allows nothing inline. See lib/theme.svelte.ts.
try {
  const root = document.documentElement;
  const theme = localStorage.getItem('madang.theme');
  if (theme === 'light' || theme === 'dark') root.dataset.theme = theme;
  const language = localStorage.getItem('madang.language');
  const korean = language ? language === 'ko' : navigator.language.toLowerCase().startsWith('ko');
  root.lang = korean ? 'ko' : 'en';
} catch {
  // Storage may be forbidden; the page then looks as the system does.
}
