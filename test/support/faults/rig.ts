import type { Test } from 'tap';
import { shortDirectory } from '../cli.ts';
import { type TestAuthority, testAuthority } from '../identity-files.ts';
import { startEchoApp, startMixedApp } from '../mixed-load.ts';
import { freePort } from '../servers.ts';
import { type SidecarProcess, type SidecarProgram, startSidecarProcess } from './process.ts';
import { startSteady } from './steady.ts';

interface Side {
  /** More than the two that the steady client uses. */
  readonly listeners?: readonly object[];
  /** Other keys of the config. */
  readonly config?: object;
  readonly node?: readonly string[];
  readonly before?: string;
  /** By this name web finds orders. */
  readonly named?: string;
  /** More of the outbounds that the steady client uses. */
  readonly outbound?: object;
  /** Beside the address of orders, further endpoints of them. */
  readonly endpoints?: (http: number, tcp: number) => Promise<{ http: string[]; tcp: string[] }>;
}

/**
 * The sidecars of web and orders in processes of their own with the steady client between them, beside which a test puts
 * its fault. `finish` has what every row asserts.
 */
export async function startFaultRig(
  t: Test,
  sides: {
    readonly orders?: Side;
    readonly web?: Side;
    readonly streams?: boolean;
    readonly authority?: TestAuthority;
    readonly program?: SidecarProgram;
  } = {},
) {
  const directory = shortDirectory(t);
  const authority = sides.authority ?? testAuthority();
  const [http, tcp] = [await startMixedApp(t), await startEchoApp(t)];
  const [httpIn, tcpIn, httpOut, tcpOut] = [await freePort(), await freePort(), await freePort(), await freePort()];
  const at = (port: number) => `127.0.0.1:${port}`;
  const common = { streams: sides.streams === false ? 'off' : 'on' };
  const start = (service: string, { config, node, before }: Side, listeners: object) =>
    startSidecarProcess(t, {
      directory,
      authority,
      service,
      config: { ...common, ...config, ...listeners },
      ...(sides.program === undefined ? {} : { program: sides.program }),
      ...(node === undefined ? {} : { node }),
      ...(before === undefined ? {} : { before }),
    });
  const orders = await start('orders', sides.orders ?? {}, {
    inbound: [
      { name: 'steady-http', listen: `0.0.0.0:${httpIn}`, target: at(http), protocol: 'http', allow: ['web'] },
      { name: 'steady-tcp', listen: `0.0.0.0:${tcpIn}`, target: at(tcp), allow: ['web'] },
      ...(sides.orders?.listeners ?? []),
    ],
  });
  const more = (await sides.web?.endpoints?.(httpIn, tcpIn)) ?? { http: [], tcp: [] };
  const found = (port: number) => `${sides.web?.named ?? '127.0.0.1'}:${port}`;
  const outbound = { service: 'orders', ...sides.web?.outbound };
  const web = await start('web', sides.web ?? {}, {
    outbound: [
      {
        ...outbound,
        name: 'steady-http',
        listen: at(httpOut),
        address: [found(httpIn), ...more.http],
        protocol: 'http',
      },
      { ...outbound, name: 'steady-tcp', listen: at(tcpOut), address: [found(tcpIn), ...more.tcp] },
      ...(sides.web?.listeners ?? []),
    ],
  });
  const steady = await startSteady({ http: httpOut, tcp: tcpOut });
  t.teardown(() => steady.stop());
  await steady.baseline();
  return {
    directory,
    authority,
    orders,
    web,
    steady,
    ports: { httpIn, tcpIn, httpOut, tcpOut },
    /**
     * Zero loss, no crash, nothing unhandled, and an end in order. `refused`: those that are refused for want of room are
     * not lost; what is open already is.
     */
    async finish(t: Test, { also = [], refused }: { also?: readonly SidecarProcess[]; refused?: RegExp } = {}) {
      const { lost, report } = await steady.stop();
      const kept = refused === undefined ? lost : lost.filter((one) => !refused.test(one));
      t.same(kept, [], 'the steady client lost nothing');
      if (refused !== undefined) t.comment(`${lost.length} of its requests were refused`);
      t.comment(report);
      for (const one of [web, orders, ...also]) await one.endsWell(t);
    },
  };
}
