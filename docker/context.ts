// Gathers in dist/image what the images are made of, so that the builder sees nothing else: no source, no secrets, no .git.
// Usage: node docker/context.ts [ARCH]   (x64 or arm64; this machine's unless given). Needs `npm run build:bundle` before.
import { cpSync, existsSync, mkdirSync, rmSync } from 'node:fs';
import { arch, argv, exit, stderr } from 'node:process';

const wanted = argv[2] ?? arch;
const node = `node_modules/node-linux-${wanted}/bin/node`;
for (const [file, fix] of [
  ['dist/bundle/main.js', 'npm run build:bundle'],
  [node, `npm install --no-save --force node-linux-${wanted}`],
] as const) {
  if (existsSync(file)) continue;
  stderr.write(`${file} is not there. First: ${fix}\n`);
  exit(1);
}
const to = 'dist/image';
rmSync(to, { recursive: true, force: true });
mkdirSync(to, { recursive: true });
cpSync('dist/bundle', `${to}/app`, { recursive: true });
cpSync(node, `${to}/node`, { dereference: true });
cpSync('docker/rootfs.sh', `${to}/rootfs.sh`);
cpSync('LICENSE', `${to}/LICENSE`);
