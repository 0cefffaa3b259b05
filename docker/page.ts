// Bundles the dashboard's page into dist/page: index.html, page.js, page.css.
// Usage: node docker/page.ts [DIRECTORY]
import { copyFileSync, rmSync } from 'node:fs';
import { argv } from 'node:process';
import { build } from 'esbuild';

const to = argv[2] ?? 'dist/page';
rmSync(to, { recursive: true, force: true });
await build({
  entryPoints: [
    { in: 'src/dashboard/main.tsx', out: 'page' },
    { in: 'src/dashboard/page.css', out: 'page' },
  ],
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2024',
  outdir: to,
  logLevel: 'warning',
});
copyFileSync('src/dashboard/index.html', `${to}/index.html`);
