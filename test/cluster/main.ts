import { spawnSync } from 'node:child_process';
import { globSync } from 'node:fs';
import { build, buildHelm } from './build.ts';
import { say } from './say.ts';
import { IMPORTED, importSidecarImage } from './sidecar-image.ts';
import { down, up } from './up.ts';

const COMMANDS: Readonly<Record<string, () => Promise<void>>> = {
  build: async () => say(`programs in ${build()}, and ${buildHelm()}`),
  up: () => up(build()),
  down,
  test: () =>
    onCluster(() => runTests(globSync('test/cluster/*.test.ts'), ['--timeout=600', ...process.argv.slice(3)])),
  soak: () =>
    onCluster(() => {
      process.env['SIDELOCK_CLUSTER_MINUTES'] ??= '30';
      return runTests(['test/cluster/certificates-change-under-load.test.ts'], ['--timeout=3000']);
    }),
};

const command = COMMANDS[process.argv[2] ?? ''];
try {
  if (command === undefined) throw new Error(`give one of: ${Object.keys(COMMANDS).join(', ')}`);
  await command();
} catch (error) {
  say(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}

async function onCluster(work: () => number): Promise<void> {
  buildHelm();
  const programs = build();
  await up(programs);
  try {
    importSidecarImage(programs);
    process.exitCode = work();
  } finally {
    await down();
  }
}

/** One file after the other: they share the cluster. */
function runTests(files: readonly string[], flags: readonly string[]): number {
  const env = { ...process.env, [IMPORTED]: '1' };
  return spawnSync('tap', ['--jobs=1', ...flags, ...files], { stdio: 'inherit', env }).status ?? 1;
}
