import { once } from 'node:events';
import { connect } from 'node:net';
import t from 'tap';
import { startDns, type Zone } from '../support/dns-server.ts';
import { ask, startThree } from '../support/endpoints.ts';
import { testAuthority } from '../support/identity-files.ts';
import { echo, startApp, startNode } from '../support/mesh.ts';
import { freePort } from '../support/servers.ts';
import { until } from '../support/until.ts';

const DNS_RESULT = (result: string) => `sidelock_dns_lookups_total{listener="out",result="${result}"}`;

t.test('F21 all addresses of a name are used, changes are followed, and a bad answer changes nothing', async (t) => {
  const authority = testAuthority();
  const port = await freePort();
  const hosts = ['127.0.0.2', '127.0.0.3', '127.0.0.4'];
  await startThree(t, authority, 'tcp', { hosts, port });
  const zone: Zone = { 'orders.test': { A: ['127.0.0.2', '127.0.0.3'] } };
  const dns = await startDns(t, zone);
  const web = await startNode(t, {
    service: 'web',
    authority,
    outbound: { service: 'orders', address: { host: 'orders.test', port } },
    dns: { servers: [dns.server], refreshMs: 50 },
  });
  const names = async () => new Set(await Promise.all(Array.from({ length: 30 }, () => ask(web.local.port))));
  t.same(await names(), new Set(['a', 'b']), 'the first caller waited for the first answer');

  zone['orders.test'] = { A: ['127.0.0.3', '127.0.0.4'] };
  await until(() => web.events('endpoints_changed').length === 2);
  t.match(web.events('endpoints_changed')[1], { added: [`127.0.0.4:${port}`], removed: [`127.0.0.2:${port}`] });
  t.same(await names(), new Set(['b', 'c']));

  for (const bad of [{ rcode: 2 }, { A: [] }, undefined]) {
    const failed = web.events('dns_failed').length;
    if (bad === undefined) delete zone['orders.test'];
    else zone['orders.test'] = bad;
    await until(() => web.events('dns_failed').length === failed + 1);
    t.match(web.events('dns_failed').at(-1), { name: 'orders.test', kept: 2, code: 'SL-DNS-001' });
    const asked = dns.questions();
    await until(() => dns.questions() > asked + 4);
    t.equal(web.events('dns_failed').length, failed + 1, 'told once');
    t.same(await names(), new Set(['b', 'c']));
    zone['orders.test'] = { A: ['127.0.0.3', '127.0.0.4'] };
    await until(() => web.events('dns_recovered').length === failed + 1);
  }
  t.equal(web.events('endpoints_changed').length, 2);
  t.ok((await web.metric(DNS_RESULT('ok'))) >= 3);
  t.ok((await web.metric(DNS_RESULT('failed'))) >= 2);
  t.ok((await web.metric(DNS_RESULT('empty'))) >= 1);
});

for (const streams of [true, false]) {
  t.test(`an endpoint that is gone keeps its connections, ${streams ? 'in streams' : 'without streams'}`, async (t) => {
    const authority = testAuthority();
    const port = await freePort();
    const app = await startApp(t, echo);
    for (const host of ['127.0.0.2', '127.0.0.3']) {
      const inbound = { target: { host: '127.0.0.1', port: app }, allow: ['web'], listen: { host, port } };
      await startNode(t, { service: 'orders', authority, streams, inbound });
    }
    const zone: Zone = { 'orders.test': { A: ['127.0.0.2'] } };
    const dns = await startDns(t, zone);
    const web = await startNode(t, {
      service: 'web',
      authority,
      streams,
      outbound: { service: 'orders', address: { host: 'orders.test', port } },
      dns: { servers: [dns.server], refreshMs: 50 },
    });
    const talk = async (socket: ReturnType<typeof connect>) => {
      socket.write('x');
      await once(socket, 'data');
    };
    const peers = () => web.sidecar.connections().map(({ peer }) => peer?.address);
    const old = connect(web.local);
    await talk(old);
    zone['orders.test'] = { A: ['127.0.0.3'] };
    await until(() => web.events('endpoints_changed').length === 2);
    const fresh = connect(web.local);
    await talk(fresh);
    await talk(old);
    t.same(peers(), [`127.0.0.2:${port}`, `127.0.0.3:${port}`]);
    old.destroy();
    fresh.destroy();
  });
}

t.test('SRV records tell hosts and ports; those of a worse priority wait until the better are gone', async (t) => {
  const authority = testAuthority();
  const three = await startThree(t, authority, 'tcp');
  const [a, b, c] = three.map(({ node }) => node.mtls.port);
  const zone: Zone = {
    '_orders._tcp.test': { SRV: [`1 10 ${a} one.test`, `1 30 ${b} two.test`, `2 10 ${c} three.test`] },
    'one.test': { A: ['127.0.0.1'] },
    'two.test': { A: ['127.0.0.1'] },
    'three.test': { A: ['127.0.0.1'] },
  };
  const dns = await startDns(t, zone);
  const web = await startNode(t, {
    service: 'web',
    authority,
    outbound: {
      service: 'orders',
      address: { srv: '_orders._tcp.test' },
      ejection: { failures: 1, timeMs: 60_000, share: 1 },
    },
    dns: { servers: [dns.server], refreshMs: 50 },
  });
  const answers: string[] = [];
  for (let i = 0; i < 60; i++) {
    answers.push(await ask(web.local.port));
    // One that is on its way out still counts as one to do.
    await until(() => web.sidecar.connections().length === 0);
  }
  const count = (name: string) => answers.filter((answer) => answer === name).length;
  t.equal(count('c'), 0);
  t.ok(count('b') > count('a'), `by weight: ${count('b')} and ${count('a')} of 60`);

  for (const one of three.slice(0, 2)) await one.node.sidecar.shutdown();
  await until(async () => (await ask(web.local.port)) === 'c');
  t.equal(await ask(web.local.port), 'c');
});
