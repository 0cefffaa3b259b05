// Bundles the command line into dist/bundle: one small file to start with, and parts loaded when a command needs them.
// Usage: node docker/bundle.ts [DIRECTORY]
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { build, type Plugin } from 'esbuild';

/** What packages load and nothing of ours uses: by file, with what stands in for it. Each costs a sidecar memory. */
const UNUSED: readonly (readonly [RegExp, string])[] = [
  // Fifty languages of messages.
  [/[\\/]zod[\\/]v4[\\/]locales[\\/]index\.js$/, "export { default as en } from './en.js';"],
  [/[\\/]prom-client[\\/]lib[\\/](pushgateway|cluster)\.js$/, 'module.exports = {};'],
  // Asked for a trace to put beside a value: there is none.
  [
    /[\\/]@opentelemetry[\\/]api[\\/]build[\\/].*[\\/]index\.js$/,
    'export const trace = { getSpan() {} }, context = { active() {} }, isSpanContextValid = () => false;',
  ],
];

const unused: Plugin = {
  name: 'unused',
  setup({ onLoad }) {
    for (const [filter, contents] of UNUSED) {
      onLoad({ filter }, ({ path }) => ({ contents, loader: 'js', resolveDir: path.slice(0, path.lastIndexOf('/')) }));
    }
  },
};

/**
 * An import of one of Node's modules reads every export of it, and `http` has three that load all of undici, `crypto` one
 * that loads WebCrypto: megabytes in each process. Taken by name instead, only what is used is read.
 */
const named: Plugin = {
  name: 'named',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^[a-z]/ }, ({ path, kind }) => {
      const plain = path.replace(/^node:/, '');
      if (kind !== 'import-statement' || !builtinModules.includes(plain)) return undefined;
      return { path: `node:${plain}`, namespace: 'named', sideEffects: false };
    });
    onLoad({ filter: /./, namespace: 'named' }, ({ path }) => {
      const names = Object.keys(process.getBuiltinModule(path) ?? {}).filter((name) => name !== 'default');
      const exports = names.map((name) => `export const ${name} = /* @__PURE__ */ (() => all.${name})();`);
      return {
        contents: [`const all = process.getBuiltinModule('${path}');`, 'export default all;', ...exports].join('\n'),
      };
    });
  },
};

const to = process.argv[2] ?? 'dist/bundle';
rmSync(to, { recursive: true, force: true });
await build({
  // The second is where a worker thread of a sidecar begins; it shares the parts.
  entryPoints: { main: 'src/cli/main.ts', thread: 'src/sidecar/workers/thread.ts' },
  bundle: true,
  splitting: true,
  minify: true,
  // Without keepNames: it would name each closure anew whenever one is made, on every request.
  platform: 'node',
  format: 'esm',
  target: 'node26',
  // Lowered, a `using` in a loop throws the error of an earlier turn again: its variables live outside of the loop.
  supported: { using: true },
  outdir: to,
  logLevel: 'warning',
  plugins: [unused, named],
  // CommonJS packages within ask for Node's own modules by `require`.
  banner: { js: "import{createRequire as _cr}from'node:module';const require=_cr(import.meta.url);" },
});
const { name, version, type } = JSON.parse(readFileSync('package.json', 'utf8')) as Record<string, string>;
writeFileSync(`${to}/package.json`, `${JSON.stringify({ name, version, type, private: true })}\n`);
