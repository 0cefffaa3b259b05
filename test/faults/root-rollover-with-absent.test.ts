import { once } from 'node:events';
import { connect } from 'node:net';
import t from 'tap';
import { cli } from '../support/cli.ts';
import { startSteady } from '../support/faults/steady.ts';
import { startRig } from '../support/manager/rig.ts';
import { ANY, startEnrolled } from '../support/manager/sidecar.ts';
import { startEchoApp, startMixedApp } from '../support/mixed-load.ts';
import { until } from '../support/until.ts';

const SIDECARS = 20;
const ABSENT = ['away-1', 'away-2', 'away-3'];

t.test(
  `F23 a root follows another, ${ABSENT.length} of ${SIDECARS} sidecars are away: zero loss, and they are named`,
  async (t) => {
    const rig = await startRig(t);
    const trust = (...words: string[]) => cli(['trust', ...words, '--storage', rig.storage]);
    const lacking = async () => (await rig.admin.trustStatus()).lacking.map(({ service }) => service).sort();
    const app = async (port: Promise<number>) => ({ host: '127.0.0.1', port: await port });
    const orders = await startEnrolled(t, rig, 'orders', {
      inbound: [
        { name: 'http', listen: ANY, target: await app(startMixedApp(t)), protocol: 'http', allow: 'any' },
        { name: 'tcp', listen: ANY, target: await app(startEchoApp(t)), protocol: 'tcp', allow: 'any' },
      ],
    });
    const [http, tcp] = orders.sidecar.inbound.map(({ address }) => ({ host: '127.0.0.1', port: address.port }));
    if (http === undefined || tcp === undefined) throw new Error('two were bound');
    const outbound = { listen: ANY, service: 'orders', expect: [] };
    const start = (service: string) =>
      startEnrolled(t, rig, service, { outbound: [{ ...outbound, name: 'tcp', address: tcp, protocol: 'tcp' }] });
    const web = await startEnrolled(t, rig, 'web', {
      outbound: [
        { ...outbound, name: 'http', address: http, protocol: 'http' },
        { ...outbound, name: 'tcp', address: tcp, protocol: 'tcp' },
      ],
    });
    const names = Array.from({ length: SIDECARS - ABSENT.length - 2 }, (_, i) => `caller-${i}`);
    const callers = await Promise.all(names.map(start));
    const away = await Promise.all(ABSENT.map(start));
    const call = async ({ local }: (typeof callers)[number]) => {
      const socket = connect(local);
      socket.write('ping');
      const [answer] = await once(socket, 'data');
      socket.destroy();
      return String(answer);
    };
    const allCall = async (who: typeof callers) => {
      const answers = await Promise.all(who.map(call));
      t.ok(
        answers.every((answer) => answer === 'ping'),
        `${answers.length} call`,
      );
    };
    const [httpOut, tcpOut] = web.sidecar.outbound.map(({ address }) => address.port);
    const steady = await startSteady({ http: httpOut ?? 0, tcp: tcpOut ?? 0 });
    t.teardown(() => steady.stop());
    await steady.baseline();
    await allCall([...callers, ...away]);
    for (const { sidecar } of away) await sidecar.shutdown();

    t.match(await trust('stage'), { code: 0 });
    await until(async () => (await lacking()).length === ABSENT.length);
    const early = await trust('activate');
    t.not(early.code, 0);
    for (const name of ABSENT) t.match(early.stderr, name, 'activate names who has not confirmed');
    t.notMatch(early.stderr, 'caller-');
    await allCall(callers);

    const before = [orders, web, ...callers].map(({ sidecar }) => sidecar.identity()?.serial);
    t.match(await trust('activate', '--absent', '1s'), { code: 0 }, 'unless they are taken as gone');
    await until(() => [orders, web, ...callers].every(({ sidecar }, i) => sidecar.identity()?.serial !== before[i]));
    await allCall(callers);
    // A connection from before stands against the end of the old root: the steady client begins anew.
    const { lost, report } = await steady.stop();
    t.same(lost, [], 'the steady client lost nothing');
    t.comment(report);
    await until(async () => (await lacking()).every((service) => ABSENT.includes(service)));
    const refused = await trust('retire', '--yes');
    t.not(refused.code, 0);
    for (const name of ABSENT) t.match(refused.stderr, name, 'retire names who is behind');

    const back = await Promise.all(ABSENT.map(start));
    await allCall(back);
    await until(() =>
      back.every(({ sidecar }, i) => sidecar.identity()?.serial !== away[i]?.sidecar.identity()?.serial),
    );
    t.pass('those who come back with the old root call, and get certificates of the new one');
    await until(async () => (await lacking()).length === 0);
    t.match(await trust('retire', '--yes'), { code: 0 });
    await until(() =>
      [orders, ...callers, ...back].every(({ sidecar }) => sidecar.identity()?.material.bundle.roots.length === 1),
    );
    await allCall([...callers, ...back]);
    for (const { events } of [orders, web, ...callers, ...back]) t.same(events('handshake_failed'), []);
  },
);
