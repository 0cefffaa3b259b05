import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Test } from 'tap';
import { MAIN, shortDirectory, startProgram } from './cli.ts';
import { swap, testAuthority } from './identity-files.ts';
import { servedSerial } from './load.ts';
import { startEchoApp, startMixedApp, startMixedLoad } from './mixed-load.ts';
import { freePort } from './servers.ts';
import { until } from './until.ts';

interface SidecarProgram {
  /** Of node. */
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/**
 * Two sidecars in processes of their own, one service with HTTP and one with TCP between them, and the mixed load.
 * `program`: what runs a sidecar; the source unless given.
 */
export async function startMixed(t: Test, streams: boolean, program: SidecarProgram = { args: [MAIN, 'sidecar'] }) {
  const directory = shortDirectory(t);
  const authority = testAuthority();
  const [http, tcp] = [await startMixedApp(t), await startEchoApp(t)];
  const [httpIn, tcpIn, httpOut, tcpOut] = [await freePort(), await freePort(), await freePort(), await freePort()];
  const [orders, web] = [join(directory, 'orders'), join(directory, 'web')];
  const put = async () => {
    const next = authority.issue('orders');
    await Promise.all([swap(orders, next), swap(web, authority.issue('web'))]);
    return next.serial;
  };
  await put();
  const common = {
    apiVersion: 'sidelock/v1',
    kind: 'Sidecar',
    trustDomain: 'ai-teddy.local',
    streams: streams ? 'on' : 'off',
    limits: { maxConnections: 20_000, maxConnectionsPerCaller: 20_000 },
  };
  const start = async (service: string, sides: object) => {
    const file = join(directory, `${service}.yaml`);
    const identity = { source: 'files', directory: join(directory, service) };
    await writeFile(file, JSON.stringify({ ...common, service, identity, ...sides }));
    const sidecar = startProgram(process.execPath, [...program.args, '--config', file], { env: program.env ?? {} });
    t.teardown(async () => {
      sidecar.child.kill('SIGKILL');
      await sidecar.ended;
    });
    await sidecar.saw(/sidecar ready/);
    return sidecar;
  };
  const ordersSidecar = await start('orders', {
    inbound: [
      { name: 'http', listen: `127.0.0.1:${httpIn}`, target: `127.0.0.1:${http}`, protocol: 'http', allow: ['web'] },
      { name: 'tcp', listen: `127.0.0.1:${tcpIn}`, target: `127.0.0.1:${tcp}`, allow: ['web'] },
    ],
  });
  const webSidecar = await start('web', {
    outbound: [
      {
        name: 'http',
        listen: `127.0.0.1:${httpOut}`,
        service: 'orders',
        address: `127.0.0.1:${httpIn}`,
        protocol: 'http',
      },
      { name: 'tcp', listen: `127.0.0.1:${tcpOut}`, service: 'orders', address: `127.0.0.1:${tcpIn}` },
    ],
  });
  const probe = authority.issue('web');
  return {
    /** New identities for both; resolves once that of orders is served. */
    async rotate() {
      const serial = await put();
      await until(async () => (await servedSerial(tcpIn, probe)) === serial, { every: 20 });
    },
    orders: ordersSidecar,
    web: webSidecar,
    tcpPort: tcpOut,
    load: await startMixedLoad(httpOut, tcpOut),
  };
}
