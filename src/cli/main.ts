#!/usr/bin/env node
// Handlers first, and alone: loading the rest takes long enough for a signal to arrive.
import './signals.ts';
import { nodeTooOld } from '../base/node-version.ts';

const tooOld = nodeTooOld(process.versions.node);
if (tooOld !== undefined) {
  // Said here because an older Node cannot even read the rest.
  process.stderr.write(`${tooOld}\n`);
  process.exit(2);
}

const { runCommandLine } = await import('./program.ts');
process.exitCode = await runCommandLine(process.argv.slice(2));
// A reader of the log who is stuck must not hold up the end. One of results may take his time.
setInterval(() => {
  if (process.stdout.writableLength === 0) process.exit();
}, 1_000).unref();
