// Preloaded into a process (node --import): at its end it writes what it loaded, a line `loaded URL` for each module, and
// `loaded internal NAME` for each of Node's own.
import { writeSync } from 'node:fs';
import { registerHooks } from 'node:module';

const urls = new Set<string>();
registerHooks({
  load(url, context, next) {
    urls.add(url);
    return next(url, context);
  },
});
process.on('exit', () => {
  // Not in the types: what Node has loaded of itself.
  const own = Reflect.get(process, 'moduleLoadList') as readonly string[];
  const internal = own.flatMap((entry) => (entry.startsWith('NativeModule ') ? [`internal ${entry.slice(13)}`] : []));
  writeSync(1, [...urls, ...internal].map((what) => `loaded ${what}\n`).join(''));
});
