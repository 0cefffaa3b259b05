import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { type Ailment, startBlackhole, startHalfDead } from '../support/faults/half-dead.ts';
import { startFaultRig } from '../support/faults/rig.ts';
import { testAuthority } from '../support/identity-files.ts';
import { until } from '../support/until.ts';

/** What each is left out for; nothing where it only is slow. */
const AILMENTS: ReadonlyArray<readonly [Ailment, RegExp | undefined]> = [
  ['silent', /^(?:connect|handshake)$/],
  ['resets', /^(?:connect|handshake)$/],
  ['closes', /^(?:connect|handshake)$/],
  ['expired', /^handshake$/],
  ['wrong identity', /^wrong_identity$/],
  ['slow', undefined],
];

const WEB = {
  config: { limits: { connectTimeout: '2s', handshakeTimeout: '2s' } },
  outbound: { ejection: { failures: 2, time: '300ms', share: 0.5 } },
};

t.test('F32 one of three endpoints ails, each time in another way: nobody notices, and it is left out', async (t) => {
  const authority = testAuthority();
  const ill: Array<Awaited<ReturnType<typeof startHalfDead>>> = [];
  const rig = await startFaultRig(t, {
    authority,
    web: {
      ...WEB,
      async endpoints(http, tcp) {
        ill.push(await startHalfDead(t, authority, http), await startHalfDead(t, authority, tcp));
        const [first, second] = ill.map(({ address }) => address);
        return { http: [`127.0.0.2:${http}`, String(first)], tcp: [`127.0.0.2:${tcp}`, String(second)] };
      },
    },
  });
  const { web } = rig;
  const [http] = ill;
  if (http === undefined) throw new Error('two were started');
  const ejections = () => web.events('endpoint_ejected').filter(({ endpoint }) => endpoint === http.address);
  for (const [ailment, reason] of AILMENTS) {
    rig.steady.phase(ailment);
    const { length } = ejections();
    const { asked } = http;
    for (const one of ill) one.ails = ailment;
    if (reason === undefined) {
      await until(() => http.asked > asked);
      await delay(1_000);
    } else {
      await until(() => ejections().some((one, i) => i >= length && reason.test(String(one['reason']))));
      t.pass(`${ailment}: it is left out`);
    }
  }
  const told = web.events('handshake_failed').find(({ reason }) => reason === 'peer_wrong_identity');
  t.match(told, { code: 'SL-TLS-006' }, 'who is somebody else is told, not only passed by');
  t.ok((await web.metric('sidelock_endpoint_ejections_total')) >= AILMENTS.length - 1);
  await rig.finish(t);
});

for (const streams of [true, false]) {
  t.test(`F32 one of three endpoints is a black hole: nobody notices, streams ${streams}`, async (t) => {
    const hole = await startBlackhole(t);
    const rig = await startFaultRig(t, {
      streams,
      web: {
        ...WEB,
        endpoints: async (http, tcp) => ({ http: [`127.0.0.2:${http}`, hole], tcp: [`127.0.0.2:${tcp}`, hole] }),
      },
    });
    await until(() => rig.web.events('endpoint_ejected').length > 0);
    t.match(rig.web.events('endpoint_ejected')[0], { endpoint: hole, reason: 'connect' });
    await rig.finish(t);
  });
}
