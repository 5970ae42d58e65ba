import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';

// The pages become part of the Python package. The server's content policy allows nothing inline,
// so no asset may become a data: address and no helper an inline script.
export default defineConfig({
  plugins: [svelte()],
  build: {
    outDir: '../python/madang/edge/static',
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: 'es2022',
    // The first with light-dark(), from which the two themes are made.
    cssTarget: ['chrome123', 'firefox120', 'safari17.5'],
  },
  resolve: process.env.VITEST ? { conditions: ['browser'] } : {},
  test: { environment: 'jsdom', css: true, include: ['src/**/*.test.ts'], restoreMocks: true },
});
