import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { startDns, type Zone } from '../support/dns-server.ts';
import { startFaultRig } from '../support/faults/rig.ts';
import { swap } from '../support/identity-files.ts';
import { until } from '../support/until.ts';

const NAME = 'orders.test';

t.test(
  'F21 whatever a name server answers, or does not: the last good addresses serve, and nobody waits',
  async (t) => {
    const one = { A: ['127.0.0.1'] };
    const zone: Zone = { [NAME]: one };
    const dns = await startDns(t, zone);
    const rig = await startFaultRig(t, {
      web: {
        config: { dns: { servers: [dns.server], refresh: '1s' } },
        named: NAME,
      },
    });
    const { web } = rig;
    const lookups = (result: string) =>
      web.metric(`sidelock_dns_lookups_total{listener="steady-http",result="${result}"}`);
    const endpoints = async () => {
      const answer = (await (await fetch(`${web.admin()}/endpoints`)).json()) as Array<{
        listener: string;
        endpoints: unknown[];
      }>;
      return answer.find(({ listener }) => listener === 'steady-http')?.endpoints.length;
    };
    for (const [what, entry, result] of [
      ['NXDOMAIN', undefined, 'failed'],
      ['SERVFAIL', { rcode: 2 }, 'failed'],
      ['an empty answer', { A: [] }, 'empty'],
      ['REFUSED', { rcode: 5 }, 'failed'],
      ['no answer at all', { silent: true }, 'failed'],
    ] as const) {
      rig.steady.phase(what);
      const before = await lookups(result);
      if (entry === undefined) delete zone[NAME];
      else zone[NAME] = entry;
      await until(async () => (await lookups(result)) > before);
      t.equal(await endpoints(), 1, `${what}: the last good address is used`);
      if (what !== 'no answer at all') {
        zone[NAME] = one;
        const { length } = web.events('dns_recovered');
        await until(() => web.events('dns_recovered').length > length);
      }
    }
    t.match(web.events('dns_failed')[0], { code: 'SL-DNS-001', name: NAME, kept: 1 });

    const asked = dns.questions();
    await Promise.all(
      Array.from({ length: 200 }, async () => (await fetch(`http://127.0.0.1:${rig.ports.httpOut}/`)).text()),
    );
    t.ok(
      dns.questions() - asked < 40,
      `200 requests, ${dns.questions() - asked} questions: none is asked for a request`,
    );
    const next = rig.authority.issue('web');
    await swap(web.identity, next);
    await until(async () => (await (await fetch(`${web.admin()}/identity`)).text()).includes(next.serial));
    t.pass('files are read while questions are open');

    rig.steady.phase('200 addresses');
    zone[NAME] = { A: Array.from({ length: 200 }, (_, i) => `127.0.${1 + (i >> 7)}.${1 + (i & 127)}`) };
    await until(async () => (await endpoints()) === 200);
    await delay(1_000);
    rig.steady.phase('another address');
    zone[NAME] = { A: ['127.0.0.9'] };
    await until(async () => (await endpoints()) === 1);
    await delay(500);
    await rig.finish(t);
  },
);
