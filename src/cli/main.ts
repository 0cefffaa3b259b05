#!/usr/bin/env node
// Handlers first, and alone: loading the rest takes long enough for a signal to arrive.
import './signals.ts';

if (Number.parseInt(process.versions.node, 10) < 24) {
  // Written here because an older Node cannot even read the rest.
  process.stderr.write(`sidelock needs Node 24 or newer; this is ${process.versions.node}\n`);
  process.exit(2);
}

const { runCommandLine } = await import('./program.ts');
process.exitCode = await runCommandLine(process.argv.slice(2));
// A reader of the log who is stuck must not hold up the end. One of results may take his time.
setInterval(() => {
  if (process.stdout.writableLength === 0) process.exit();
}, 1_000).unref();
