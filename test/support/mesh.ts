import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { type Clock, systemClock } from '../../src/base/clock.ts';
import { createMetrics } from '../../src/base/metrics.ts';
import {
  DEFAULT_LIMITS,
  type HostPort,
  type InboundOptions,
  type OutboundOptions,
  type Protocol,
  type SidecarLimits,
  type SidecarOptions,
} from '../../src/sidecar/options.ts';
import { startSidecar } from '../../src/sidecar/sidecar.ts';
import { recordingLog } from './identity-fakes.ts';
import { swap, type TestAuthority, testAuthority } from './identity-files.ts';

const ANY_PORT: HostPort = { host: '127.0.0.1', port: 0 };

interface NodeOptions {
  readonly service: string;
  readonly authority: TestAuthority;
  readonly inbound?: Pick<InboundOptions, 'target' | 'allow'> & Partial<InboundOptions>;
  readonly outbound?: Pick<OutboundOptions, 'service' | 'address'> & Partial<OutboundOptions>;
  readonly limits?: Partial<SidecarLimits>;
  readonly userBuffers?: boolean;
  readonly streams?: boolean;
  readonly workers?: number;
  readonly minVersion?: SidecarOptions['minVersion'];
  readonly clock?: Clock;
  readonly protocol?: Protocol;
  readonly accessLog?: number;
  readonly tracing?: boolean;
  /** Opens the admin endpoints, on any port. */
  readonly admin?: boolean;
  readonly dns?: SidecarOptions['dns'];
  /** Outbounds that are reached by a forward proxy alone. */
  readonly proxied?: ReadonlyArray<Pick<OutboundOptions, 'name' | 'address' | 'protocol'>>;
  readonly forwardHost?: string;
  readonly revocation?: SidecarOptions['revocation'];
}

/** One sidecar in this process with an identity of `authority` on disk, and all that can be seen of it. */
export async function startNode(t: Test, options: NodeOptions) {
  const { service, authority, inbound, outbound, protocol = 'tcp', proxied = [] } = options;
  const directory = await mkdtemp(join(tmpdir(), `sidelock-${service}-`));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  await swap(directory, authority.issue(service));
  const { log, lines, events } = recordingLog();
  const metrics = createMetrics();
  const sidecar = await startSidecar(
    {
      service,
      trustDomain: 'ai-teddy.local',
      namespace: 'default',
      identity: { source: 'files', directory, debounceMs: 10 },
      inbound: inbound === undefined ? [] : [{ name: 'in', listen: ANY_PORT, protocol, ...inbound }],
      outbound: [
        ...(outbound === undefined ? [] : [{ name: 'out', listen: ANY_PORT, protocol, expect: [], ...outbound }]),
        ...proxied.map((one) => ({ service: 'orders', expect: [], ...one })),
      ],
      ...(proxied.length === 0 ? {} : { forwardProxy: { ...ANY_PORT, host: options.forwardHost ?? ANY_PORT.host } }),
      admin: options.admin === true ? ANY_PORT : false,
      limits: { ...DEFAULT_LIMITS, drainMs: 200, ...options.limits },
      accessLog: options.accessLog ?? 0,
      tracing: options.tracing ?? false,
      ...(options.dns === undefined ? {} : { dns: options.dns }),
      ...(options.userBuffers === undefined ? {} : { userBuffers: options.userBuffers }),
      ...(options.streams === undefined ? {} : { streams: options.streams }),
      ...(options.workers === undefined ? {} : { workers: options.workers }),
      ...(options.minVersion === undefined ? {} : { minVersion: options.minVersion }),
      ...(options.revocation === undefined ? {} : { revocation: options.revocation }),
    },
    { clock: options.clock ?? systemClock, random: Math.random, log, metrics },
  );
  t.teardown(() => sidecar.shutdown());
  await sidecar.ready;
  return {
    sidecar,
    directory,
    lines,
    events,
    /** Where peers reach it. */
    mtls: addressOf(sidecar.inbound[0]),
    /** Where its app calls. */
    local: addressOf(sidecar.outbound[0]),
    /** What a scrape shows, without the values. */
    series: async () =>
      (await metrics.render()).split('\n').flatMap((line) => (/^[^#]/.test(line) ? [line.replace(/ \S+$/, '')] : [])),
    /** Sum of the series whose text starts like this, as a scrape shows them. */
    async metric(start: string): Promise<number> {
      const found = (await metrics.render()).split('\n').filter((line) => line.startsWith(start));
      return found.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
    },
  };
}

/** `web`'s sidecar calling `orders`' sidecar in front of `app`. */
export async function startPair(
  t: Test,
  app: (socket: Socket) => void,
  {
    allow = ['web'],
    policy = 'enforce',
    mode = 'strict',
    outbound = {},
    ...options
  }: Pick<NodeOptions, 'limits' | 'userBuffers' | 'streams' | 'protocol' | 'accessLog' | 'tracing' | 'admin'> &
    Partial<Pick<InboundOptions, 'allow' | 'policy' | 'mode'>> & {
      readonly outbound?: Pick<OutboundOptions, 'limits'>;
    } = {},
) {
  const authority = testAuthority();
  const appPort = await startApp(t, app);
  const target = { host: '127.0.0.1', port: appPort };
  const orders = await startNode(t, {
    service: 'orders',
    authority,
    inbound: { target, allow, policy, mode },
    ...options,
  });
  const web = await startNode(t, {
    service: 'web',
    authority,
    outbound: { service: 'orders', address: orders.mtls, ...outbound },
    ...options,
  });
  return { authority, orders, web, appPort };
}

/** A plaintext app on loopback; ends with the test. */
export async function startApp(t: Test, app: (socket: Socket) => void): Promise<number> {
  const open = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    open.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => open.delete(socket));
    app(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    for (const socket of open) socket.destroy();
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new TypeError('a TCP port was expected');
  return address.port;
}

/** Everything until the other side ends. Async iteration would destroy the socket then, and with it the way back. */
export function readAll(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  return new Promise((resolve, reject) => {
    socket.once('end', () => resolve(Buffer.concat(chunks)));
    socket.once('error', reject);
  });
}

export function echo(socket: Socket): void {
  socket.on('data', (chunk) => socket.write(chunk));
  socket.once('end', () => socket.end());
}

function addressOf(bound: { readonly address: { address: string; port: number } } | undefined): HostPort {
  return { host: '127.0.0.1', port: bound?.address.port ?? 0 };
}
