import { Agent, request } from 'node:http';
import t from 'tap';
import type { HostPort } from '../../src/sidecar/options.ts';
import { ask, startKillable, startNamedApp, startThree } from '../support/endpoints.ts';
import { testAuthority } from '../support/identity-files.ts';
import { startNode } from '../support/mesh.ts';
import { until } from '../support/until.ts';

const EJECTION = { failures: 3, timeMs: 300, share: 0.7 };

for (const streams of [true, false]) {
  t.test(`connections spread over three endpoints, ${streams ? 'in streams' : 'without streams'}`, async (t) => {
    const authority = testAuthority();
    const three = await startThree(t, authority, 'tcp', { streams });
    const address = three.map(({ node }) => node.mtls);
    const web = await startNode(t, { service: 'web', authority, streams, outbound: { service: 'orders', address } });
    const answers = await Promise.all(Array.from({ length: 90 }, () => ask(web.local.port)));
    for (const name of ['a', 'b', 'c']) {
      const got = answers.filter((answer) => answer === name).length;
      t.ok(got >= 15, `${name} got ${got} of 90`);
    }
    t.equal(await web.metric('sidelock_endpoints{listener="out",state="usable"}'), 3);
    const shared = await web.metric('sidelock_links{direction="outbound",listener="out",kind="shared"}');
    t.equal(shared, streams ? 3 : 0, 'one link an endpoint');
  });
}

t.test(
  'F32 one of three is killed under load: no idempotent request fails, and it comes back by degrees',
  async (t) => {
    const authority = testAuthority();
    const [first, second] = await startThree(t, authority, 'http');
    const app = await startNamedApp(t, 'killed');
    const killable = await startKillable(t, authority, app.port);
    const web = await startNode(t, {
      service: 'web',
      authority,
      protocol: 'http',
      admin: true,
      outbound: {
        service: 'orders',
        address: [first?.node.mtls, second?.node.mtls, killable.address].filter((one) => one !== undefined),
        ejection: EJECTION,
      },
    });
    const load = startLoad(web.local);
    await until(() => app.served > 50);
    await killable.kill();
    await until(() => web.events('endpoint_ejected').length > 0);
    const { done } = load;
    await until(() => load.done > done + 200);
    t.match(web.events('endpoint_ejected')[0], { reason: /^(connect|gateway)$/, endpoint: String, seconds: 0.3 });
    t.ok((await web.metric('sidelock_endpoint_ejections_total')) >= 1);
    t.match(await (await fetch(`http://127.0.0.1:${web.sidecar.admin?.port}/endpoints`)).json(), [
      { listener: 'out', service: 'orders', failing: [], endpoints: { length: 3 } },
    ]);

    await killable.start();
    const served = app.served;
    await until(
      () => web.events('endpoint_returns').some(({ state }) => state === 'usable') && app.served > served + 50,
    );
    t.same(await load.stop(), [], 'no request failed');
    t.ok((await web.metric('sidelock_connect_retries_total')) > 0);
  },
);

t.test(
  'an endpoint whose answers are 503 is left out; a failure on its way back leaves it out for longer',
  async (t) => {
    const authority = testAuthority();
    const three = await startThree(t, authority, 'http');
    const web = await startNode(t, {
      service: 'web',
      authority,
      protocol: 'http',
      outbound: { service: 'orders', address: three.map(({ node }) => node.mtls), ejection: EJECTION },
    });
    const bad = three[0]?.app;
    if (bad === undefined) throw new Error('three were started');
    bad.status = 503;
    const load = startLoad(web.local);
    await until(() => web.events('endpoint_ejected').length >= 2);
    t.match(web.events('endpoint_ejected').slice(0, 2), [
      { reason: 'gateway', seconds: 0.3, left: 2 },
      { reason: 'gateway', seconds: 0.6, left: 2 },
    ]);
    bad.status = 200;
    await until(() => web.events('endpoint_returns').some(({ state }) => state === 'usable'));
    for (const failure of await load.stop()) t.match(failure, /503 a/);
  },
);

t.test('an endpoint that is somebody else is left out at once, and told; the caller is served elsewhere', async (t) => {
  const authority = testAuthority();
  const [orders] = await startThree(t, authority, 'tcp');
  const billing = await startNode(t, {
    service: 'billing',
    authority,
    inbound: { target: { host: '127.0.0.1', port: 1 }, allow: 'any' },
  });
  const web = await startNode(t, {
    service: 'web',
    authority,
    outbound: {
      service: 'orders',
      address: [billing.mtls, orders?.node.mtls].filter((one) => one !== undefined),
      ejection: EJECTION,
    },
  });
  while (web.events('endpoint_ejected').length === 0) t.equal(await ask(web.local.port), 'a');
  t.match(web.events('endpoint_ejected'), [{ reason: 'wrong_identity', code: 'SL-TLS-006' }]);
  t.match(web.events('handshake_failed'), [{ reason: 'peer_wrong_identity' }]);
});

t.test('when nobody answers callers are refused soon, and as soon as one does they are served', async (t) => {
  const authority = testAuthority();
  const dead = [1, 2, 3].map((port) => ({ host: '127.0.0.1', port }));
  const web = await startNode(t, {
    service: 'web',
    authority,
    outbound: { service: 'orders', address: dead, ejection: EJECTION },
  });
  for (let i = 0; i < 20; i++) t.equal(await ask(web.local.port), 'ECONNRESET');
  t.equal(web.events('endpoint_ejected').length, 2, 'never more than the share');
});

/** GETs on eight kept connections until it is stopped; then what failed. */
function startLoad({ host, port }: HostPort) {
  const agent = new Agent({ keepAlive: true, maxSockets: 8 });
  const failures: string[] = [];
  let stopped = false;
  const load = { done: 0, stop };
  const get = () =>
    new Promise<void>((resolve) => {
      const failed = (error: Error) => {
        failures.push(String(error));
        resolve();
      };
      request({ host, port, agent }, (response) => {
        let body = '';
        response.on('data', (chunk) => {
          body += chunk;
        });
        response.once('error', failed);
        response.once('end', () => {
          load.done++;
          if (response.statusCode !== 200) failures.push(`${response.statusCode} ${body}`);
          resolve();
        });
      })
        .once('error', failed)
        .end();
    });
  const workers = Array.from({ length: 8 }, async () => {
    while (!stopped) await get();
  });
  async function stop(): Promise<string[]> {
    stopped = true;
    await Promise.all(workers);
    agent.destroy();
    return failures;
  }
  return load;
}
