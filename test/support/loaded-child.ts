// Preloaded into a process (node --import): at its end it writes what it loaded, a line `loaded URL` for each module.
import { writeSync } from 'node:fs';
import { registerHooks } from 'node:module';

const urls = new Set<string>();
registerHooks({
  load(url, context, next) {
    urls.add(url);
    return next(url, context);
  },
});
process.on('exit', () => writeSync(1, [...urls].map((url) => `loaded ${url}\n`).join('')));
