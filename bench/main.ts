import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildBundle } from './bundle.ts';
import { updateReadme, writeResults } from './files.ts';
import { FIGURES, type Flags, readFlags } from './flags.ts';
import { runGrowth } from './growth.ts';
import { machine } from './machine.ts';
import { isInstalled, usesSidelock } from './peers/all.ts';
import type { Peer } from './peers/peer.ts';
import { runSuite } from './suite.ts';

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
const request = readFlags(process.argv.slice(2));
if ('text' in request) {
  (request.exitCode === 0 ? process.stdout : process.stderr).write(request.text);
  process.exitCode = request.exitCode;
} else {
  const failures = await run(request).catch((error) => [error instanceof Error ? error.message : String(error)]);
  if (failures.length > 0) process.stderr.write(`\nThe bench failed:\n${failures.map((f) => `  ${f}\n`).join('')}`);
  process.exitCode = failures.length > 0 ? 1 : 0;
}

/** Why it failed, a sentence each; none when it did not. */
async function run(flags: Flags): Promise<readonly string[]> {
  const print = (text: string) => flags.json || process.stdout.write(text);
  const progress = (text: string) => process.stderr.write(`  ${text}\n`);
  const directory = await mkdtemp(join(tmpdir(), 'sidelock-bench-'));
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
  const peers = flags.peers.filter(isInstalled);
  for (const { name } of flags.peers.filter((peer) => !peers.includes(peer))) {
    progress(`${name} is not installed: left out`);
  }
  if (flags.only.includes(FIGURES) || peers.some(usesSidelock)) await buildBundle();
  const { runs, seconds } = flags;
  const about = { machine: machine(), versions: versions(peers), runs, seconds };
  const finished = await (flags.growth ? runGrowth : runSuite)({ ...flags, peers, about, directory, print, progress });
  if (flags.json) process.stdout.write(`${JSON.stringify(finished.json, null, 2)}\n`);
  print(`\nJSON, Markdown and chart in ${await writeResults(finished, about.machine.date)}.*\n`);
  if (flags.readme) await updateReadme(finished);
  return finished.failures;
}

/** Of what is not ours, each once: peers with two different ends have nothing new. */
function versions(peers: readonly Peer[]): Record<string, string> {
  const others = peers.filter((peer) => peer.client === peer.server && !usesSidelock(peer));
  return Object.fromEntries(others.map(({ name, client }) => [name, client.version() ?? '']));
}
