import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { createManagerClient } from '../../src/api/client.ts';
import { systemClock } from '../../src/base/clock.ts';
import { verifyAudit } from '../../src/manager/audit-verify.ts';
import { certificatesFromPem } from '../../src/pki/certificate.ts';
import { verifyCsr } from '../../src/pki/csr.ts';
import { startApiServer } from '../cluster/api-server.ts';
import { startEnrolling } from '../cluster/enrolling.ts';
import { NAMESPACE, startReplicas } from '../cluster/replicas.ts';
import { cli } from '../support/cli.ts';
import { candidate } from '../support/manager/rig.ts';

/** `npm run soak:leaders` is the long form: five minutes, a kill every 20 seconds. */
const LONG = process.env['SIDELOCK_SOAK'] === '1';
const KILLS = LONG ? 15 : 2;
const EVERY_MS = LONG ? 20_000 : 1_000;
const RESTART_BEFORE = LONG ? [4, 10] : [1, 2];

/** Managers with the rights that `sidelock install` gives them, and no others. */
async function cluster(t: Parameters<typeof startReplicas>[0], count = 3) {
  const api = await startApiServer(t);
  const installed = await cli(['install', '--state', 'secrets', '--manager-replicas', String(count)]);
  await api.kubectl(['apply', '-f', '-'], installed.stdout);
  const token = await api.tokenOf(NAMESPACE, 'sidelock-manager');
  return { api, replicas: await startReplicas(t, { api, kubeconfig: api.kubeconfig({ token }), count }) };
}

t.test('leaders are killed and the API server restarts: certificates go on, and each request has one', async (t) => {
  const { api, replicas } = await cluster(t);
  await replicas.leader();
  const enrolling = startEnrolling(replicas, 4);
  for (let round = 1; round <= KILLS; round++) {
    if (RESTART_BEFORE.includes(round)) {
      await api.stop();
      await sleep(LONG ? 3_000 : 500);
      await api.start();
    }
    const before = enrolling.answered.length;
    await sleep(EVERY_MS);
    await replicas.kill(await replicas.leader());
    await replicas.leader();
    for (let tries = 0; tries < 600 && enrolling.answered.length === before; tries++) await sleep(50);
    t.ok(enrolling.answered.length > before, `round ${round}: ${enrolling.answered.length} requests answered`);
  }
  await enrolling.stop();
  const leader = await replicas.leader();
  const bySpki = Map.groupBy(await replicas.inventory(), ({ spkiSha256 }) => spkiSha256);
  const { answered } = enrolling;
  t.strictSame(
    answered.filter(({ fingerprints }) => fingerprints.size > 1),
    [],
    'the same request has the same answer',
  );
  const wrong = answered.filter(({ spkiSha256, fingerprints }) => {
    const entries = bySpki.get(spkiSha256) ?? [];
    const [got] = [...fingerprints].flatMap((pem) => certificatesFromPem(pem, 'the answer').slice(0, 1));
    return got !== undefined && (entries.length !== 1 || entries[0]?.fingerprint256 !== got.fingerprint256);
  });
  t.strictSame(wrong, [], 'what was handed out, and nothing else of that request, is on record');
  t.equal([...bySpki.values()].filter((entries) => entries.length > 1).length, 0, 'no key has two certificates');
  const audit = await verifyAudit(join(leader.storage, '.sidelock', 'audit.log'));
  t.ok(audit.ok, 'the audit log is one whole chain');
  t.match(leader.cli.stderr(), /"event":"audit","line":"\{\\"seq\\":\d+/, 'and each line is in our log too');
  const report = await (await replicas.admin()).validate();
  t.strictSame(
    report.findings.filter(({ severity }) => severity === 'error'),
    [],
  );
  t.comment(
    `${answered.length} requests, ${enrolling.lostTokens} tokens lost, longest gap ${Math.round(enrolling.longestGap)} ms`,
  );
});

t.test('one that was stopped past its Lease writes and answers nothing when it goes on', async (t) => {
  const { replicas } = await cluster(t, 2);
  const old = await replicas.leader();
  const { token } = await (await replicas.admin()).createToken({ service: 'orders' });
  const follower = replicas.all.find((one) => one !== old);
  const command = await cli(['token', 'create', 'orders', '--storage', follower?.storage ?? ''], { env: replicas.env });
  t.match(command.stderr, /SL-HA-002/, 'a follower answers no command, and starts no CA of its own');
  t.match(command.stderr, new RegExp(`${hostname()} leads`));
  const ready = await fetch(`http://${await follower?.health}/readyz`);
  t.strictSame([ready.status, await ready.json()], [200, { ready: true, blockers: [] }], 'and is ready');
  t.match(await (await fetch(`http://${await follower?.health}/metrics`)).text(), /^sidelock_leader 0$/m);
  t.strictSame(
    readdirSync(join(follower?.storage ?? '', '.sidelock')).filter((name) => !name.startsWith('lock.')),
    [],
  );
  const [, url = ''] = await old.cli.saw(/manager ready on (\S+)/);
  old.cli.child.kill('SIGSTOP');
  const { csr } = await candidate('orders');
  // The system takes the connection for the process that is stopped.
  const asked = createManagerClient({ address: url, clock: systemClock, timeoutMs: 60_000 }).enroll(token, csr);
  const refused = t.rejects(asked, { code: /SL-HA-001|SL-MGR-00/ });
  const next = await replicas.leader();
  t.not(next, old);
  const exited = once(old.cli.child, 'exit');
  old.cli.child.kill('SIGCONT');
  t.strictSame(await exited, [1, null]);
  await refused;
  t.match(old.cli.stderr(), /"event":"leadership_lost"/);
  t.match(old.cli.stderr(), /SL-HA-001/);
  const { spkiSha256 } = verifyCsr(csr, 'the request');
  t.notOk((await replicas.inventory()).some((entry) => entry.spkiSha256 === spkiSha256));
  const client = createManagerClient({ address: replicas.address, clock: systemClock });
  t.ok((await client.enroll(token, csr)).certificate, 'the token was not used up');
});
