import { systemClock } from '../../src/base/clock.ts';
import { Readiness } from '../../src/base/lifecycle.ts';
import { createLogger } from '../../src/base/log.ts';
import { createMetrics } from '../../src/base/metrics.ts';
import { createIdentityHolder } from '../../src/sidecar/identity.ts';
import { startIdentitySource } from '../../src/sidecar/sources/start.ts';

/** Keeps the identity in argv[2] and prints the serial of each it takes up, until its input ends. Ends by itself. */
const log = createLogger({ level: 'info' });
const holder = createIdentityHolder({ log });
holder.subscribe(({ serial }) => process.stdout.write(`${serial}\n`));
const source = await startIdentitySource(
  {
    identity: { source: 'files', directory: process.argv[2] ?? '', pollMs: 3_600_000 },
    trustDomain: 'ai-teddy.local',
    namespace: 'default',
  },
  {
    holder,
    clock: systemClock,
    random: () => 0.5,
    log,
    metrics: createMetrics(),
    readiness: new Readiness(),
    signal: new AbortController().signal,
  },
);
process.stdin.resume();
await new Promise((resolve) => process.stdin.once('end', resolve));
await source[Symbol.asyncDispose]();
