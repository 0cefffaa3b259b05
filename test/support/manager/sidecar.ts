import { join } from 'node:path';
import type { Test } from 'tap';
import { systemClock } from '../../../src/base/clock.ts';
import { createMetrics } from '../../../src/base/metrics.ts';
import {
  DEFAULT_LIMITS,
  type HostPort,
  type SidecarDependencies,
  type SidecarOptions,
} from '../../../src/sidecar/options.ts';
import { startSidecar } from '../../../src/sidecar/sidecar.ts';
import { recordingLog } from '../identity-fakes.ts';
import { until } from '../until.ts';
import type { Rig } from './rig.ts';

export const ANY: HostPort = { host: '127.0.0.1', port: 0 };

/** A sidecar in this process with its identity from the manager of `rig`. */
export async function startEnrolled(
  t: Test,
  rig: Rig,
  service: string,
  { clock = systemClock, ...more }: Partial<SidecarOptions> & Partial<Pick<SidecarDependencies, 'clock'>>,
) {
  const { token } = await rig.manager.tokens.create({ service });
  const { log, events, lines } = recordingLog();
  const metrics = createMetrics();
  const sidecar = await startSidecar(
    {
      service,
      trustDomain: 'ai-teddy.local',
      namespace: 'default',
      identity: {
        source: 'manager',
        service,
        directory: join(rig.storage, '..', service),
        keyType: 'ecdsa-p256',
        token: async () => token,
      },
      inbound: [],
      outbound: [],
      admin: false,
      limits: { ...DEFAULT_LIMITS, drainMs: 200 },
      ...more,
    },
    { clock, random: Math.random, log, metrics },
  );
  t.teardown(() => sidecar.shutdown());
  await sidecar.ready;
  await until(() => events('crl_loaded').length + events('crl_failed').length > 0);
  return {
    sidecar,
    events,
    lines,
    metrics,
    mtls: { host: '127.0.0.1', port: sidecar.inbound[0]?.address.port ?? 0 },
    local: { host: '127.0.0.1', port: sidecar.outbound[0]?.address.port ?? 0 },
  };
}
