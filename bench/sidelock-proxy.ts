import { systemClock, systemRandom } from '../src/base/clock.ts';
import { createLogger } from '../src/base/log.ts';
import { createMetrics } from '../src/base/metrics.ts';
import { DEFAULT_LIMITS, type InboundOptions, type OutboundOptions } from '../src/sidecar/options.ts';
import { startSidecar } from '../src/sidecar/sidecar.ts';

/** The whole sidecar as `sidelock sidecar` runs it, without a config file. */
interface ProxyOptions {
  readonly directory: string;
  readonly inbound: readonly InboundOptions[];
  readonly outbound: readonly OutboundOptions[];
}

const { directory, inbound, outbound }: ProxyOptions = JSON.parse(process.argv[2] ?? '');
const sidecar = await startSidecar(
  {
    trustDomain: 'ai-teddy.local',
    namespace: 'default',
    identity: { source: 'files', directory },
    inbound,
    outbound,
    admin: false,
    limits: { ...DEFAULT_LIMITS, drainMs: 100 },
  },
  {
    clock: systemClock,
    random: systemRandom,
    log: createLogger({ level: 'info' }),
    metrics: createMetrics({ processMetrics: true }),
  },
);
process.once('SIGTERM', () => void sidecar.shutdown());
