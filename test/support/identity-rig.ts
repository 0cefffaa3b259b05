import type { Test } from 'tap';
import { type Clock, type Random, systemClock } from '../../src/base/clock.ts';
import { Readiness } from '../../src/base/lifecycle.ts';
import { createMetrics } from '../../src/base/metrics.ts';
import { createIdentityHolder, type Identity } from '../../src/sidecar/identity.ts';
import type { IdentityOptions } from '../../src/sidecar/options.ts';
import { startIdentitySource } from '../../src/sidecar/sources/start.ts';
import { recordingLog } from './identity-fakes.ts';

interface RigOptions {
  readonly service?: string;
  readonly clock?: Clock;
  readonly random?: Random;
}

/** A running identity source and all that can be seen of it. */
export async function startIdentity(t: Test, identity: IdentityOptions, options: RigOptions = {}) {
  const { service = 'orders', clock = systemClock, random = Math.random } = options;
  const { log, lines, events } = recordingLog();
  const metrics = createMetrics();
  const readiness = new Readiness();
  const holder = createIdentityHolder({ log });
  const stop = new AbortController();
  const seen: Identity[] = [];
  holder.subscribe((found) => seen.push(found));
  const source = await startIdentitySource(
    {
      identity: { debounceMs: 10, pollMs: 3_600_000, ...identity },
      service,
      trustDomain: 'ai-teddy.local',
      namespace: 'default',
    },
    { holder, clock, random, log, metrics, readiness, signal: stop.signal },
  );
  t.teardown(() => source[Symbol.asyncDispose]());
  return {
    source,
    holder,
    readiness,
    stop,
    lines,
    events,
    /** Every identity that was taken up, oldest first. */
    seen,
    serial: () => holder.current()?.serial,
    why: () => readiness.blockers().find(({ name }) => name === 'identity')?.why,
    /** The value of one series as a scrape would show it. */
    async metric(series: string): Promise<number | undefined> {
      const line = (await metrics.render()).split('\n').find((text) => text.startsWith(`${series} `));
      return line === undefined ? undefined : Number(line.slice(series.length + 1));
    },
  };
}
