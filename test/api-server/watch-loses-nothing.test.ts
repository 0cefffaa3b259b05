import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import root from 'tap';
import { type Clock, MINUTE, SECOND, systemClock } from '../../src/base/clock.ts';
import { createMetrics } from '../../src/base/metrics.ts';
import { connectKubernetes } from '../../src/kubernetes/client.ts';
import { watchObjects } from '../../src/kubernetes/watch.ts';
import { createWatchMetrics } from '../../src/kubernetes/watch-metrics.ts';
import { type ApiServer, startApiServer } from '../cluster/api-server.ts';
import { recordingLog } from '../support/manager/rig.ts';
import { until } from '../support/until.ts';

type Teardown = { teardown(end: () => void | Promise<void>): void };

const MAPS = '/api/v1/namespaces/w/configmaps';
const ROLES = '/apis/rbac.authorization.k8s.io/v1/namespaces/w';
const MANY = 1_200;

/** A way to the API server that can be closed, or left open with nothing coming through. */
async function startWay(t: Teardown, to: string) {
  const open = new Set<Socket>();
  let mode: 'open' | 'closed' | 'silent' = 'open';
  const server = createServer((client) => {
    if (mode === 'closed') {
      client.destroy();
      return;
    }
    const upstream = connect(Number(new URL(to).port), '127.0.0.1');
    for (const [from, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      open.add(from);
      from.on('data', (data) => mode !== 'silent' && other.write(data));
      from.on('error', () => {});
      from.on('close', () => {
        open.delete(from);
        other.destroy();
      });
    }
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cut = () => {
    for (const socket of open) socket.destroy();
  };
  t.teardown(() => {
    cut();
    server.close();
  });
  return {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    set(next: typeof mode) {
      mode = next;
      if (next === 'closed') cut();
    },
  };
}

/** Waits as the system does, but never for long where something is tried again. */
const hurried: Clock = {
  now: systemClock.now,
  sleep: (ms, signal) => systemClock.sleep(ms > MINUTE ? ms : Math.min(ms, 200), signal),
};

async function follow(t: Teardown, kubeconfig: string, silenceMs = 90 * SECOND) {
  process.env['KUBECONFIG'] = kubeconfig;
  const { log, lines } = recordingLog();
  const metrics = createMetrics();
  const stop = new AbortController();
  const told: string[] = [];
  const api = await connectKubernetes();
  const { known, ended } = watchObjects(
    { resource: 'configmaps', path: MAPS },
    {
      ...{ api, log, clock: hurried, random: () => 0.5, signal: stop.signal, silenceMs },
      metrics: createWatchMetrics(metrics),
      onChange(changes) {
        for (const { key, before, after } of changes) {
          told.push(`${before === undefined ? '+' : after === undefined ? '-' : '~'}${key.slice(2)}`);
        }
      },
    },
  );
  t.teardown(async () => {
    stop.abort();
    await ended;
  });
  const failures = () => lines.filter(({ event }) => event === 'watch_failed');
  return {
    known,
    told,
    failures,
    restored: () => lines.filter(({ event }) => event === 'watch_restored').length,
    async ends(reason: string): Promise<number> {
      const line = new RegExp(`watch_ends_total\\{resource="configmaps",reason="${reason}"\\} (\\d+)`);
      return Number(line.exec(await metrics.render())?.[1] ?? 0);
    },
    isOpen: async () => /watch_open\{resource="configmaps"\} 1/.test(await metrics.render()),
  };
}

let api: ApiServer;

const make = (name: string) => api.must('POST', MAPS, { metadata: { name } });
const remove = (name: string) => api.must('DELETE', `${MAPS}/${name}`);
const change = (name: string, value: string) =>
  api.must('PATCH', `${MAPS}/${name}`, { data: { value } }, { type: 'application/merge-patch+json' });

/** What is known is what is there, version by version. */
async function agrees(known: ReadonlyMap<string, object>): Promise<boolean> {
  const versions = (objects: Iterable<object>) =>
    [...objects].map((one) => JSON.stringify((one as { metadata: object }).metadata)).sort();
  const { items } = await api.must('GET', MAPS);
  return versions(items as object[]).join() === versions(known.values()).join();
}

root.test('a watch tells all that happens, whatever happens to it', async (t) => {
  api = await startApiServer(root);
  await api.must('POST', '/api/v1/namespaces', { metadata: { name: 'w' } });
  const names = Array.from({ length: MANY }, (_, at) => `many-${at}`);
  for (let at = 0; at < MANY; at += 40) await Promise.all(names.slice(at, at + 40).map((name) => make(name)));
  const way = await startWay(t, api.url);
  const { known, told, failures, restored, ends, isOpen } = await follow(t, api.kubeconfig({ server: way.url }));
  const tells = async (...expected: string[]) => {
    await until(() => expected.every((one) => told.includes(one)));
    t.same(told.splice(0).sort(), expected.sort());
    t.ok(await agrees(known));
  };

  await until(isOpen);
  t.equal(known.size, MANY, 'objects of three pages');
  t.equal(told.splice(0).length, MANY);

  await make('a');
  await tells('+a');
  await change('a', '1');
  await tells('~a');
  await remove('a');
  await tells('-a');

  for (const name of ['b', 'c', 'd', 'e']) await make(name);
  await tells('+b', '+c', '+d', '+e');
  way.set('closed');
  await remove('b');
  await change('c', '1');
  await remove('d');
  await make('d');
  await make('f');
  await until(() => failures().length === 1);
  way.set('open');
  await tells('-b', '~c', '-d', '+d', '+f');
  t.equal(await ends('gone'), 0, 'a connection that broke: it goes on where it was');
  t.match(failures(), [{ level: 40, reason: 'unreachable', code: 'SL-KUBE-001' }], 'and it is told once');
  await until(() => restored() === 1);

  await api.stop();
  await until(async () => (await ends('unreachable')) > 3);
  await api.start();
  await until(isOpen);
  await make('g');
  await tells('+g');

  way.set('closed');
  await remove('c');
  await change('e', '1');
  await make('h');
  await remove('h');
  await api.stop();
  await api.start();
  await api.compact();
  way.set('open');
  await tells('-c', '~e');
  t.ok((await ends('gone')) > 0, 'its version is too old (410): what went is found by comparing');
  t.same(
    failures().filter(({ reason }) => reason === 'gone'),
    [],
    'which is no trouble',
  );
  await make('i');
  await tells('+i');
});

root.test('a silent connection is given up, another token taken, a missing right named and waited for', async (t) => {
  await api.must('DELETE', MAPS);
  const way = await startWay(t, api.url);
  const patient = await follow(t, api.kubeconfig({ server: way.url }), 61 * SECOND);
  const first = await follow(t, api.kubeconfig({ server: way.url }), 500);
  await until(first.isOpen);
  way.set('silent');
  await make('a');
  await until(async () => (await first.ends('silent')) > 0);
  way.set('closed');
  way.set('open');
  await until(() => first.told.includes('+a') && patient.told.includes('+a'));
  t.pass('what was not let through is told');

  const rules = (verbs: readonly string[]) => [{ apiGroups: [''], resources: ['configmaps'], verbs }];
  const role = { metadata: { name: 'r' }, rules: rules(['list']) };
  await api.must('POST', `${ROLES}/roles`, role);
  const subjects = ['old', 'new'].map((name) => ({ kind: 'ServiceAccount', name, namespace: 'w' }));
  const roleRef = { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'r' };
  await api.must('POST', `${ROLES}/rolebindings`, { metadata: { name: 'r' }, subjects, roleRef });
  for (const name of ['old', 'new']) {
    await api.must('POST', '/api/v1/namespaces/w/serviceaccounts', { metadata: { name } });
  }
  const tokenFile = join(api.directory, 'token');
  writeFileSync(tokenFile, 'nobody');
  const { told, failures, restored, ends, isOpen } = await follow(t, api.kubeconfig({ tokenFile }));
  await until(async () => (await ends('failed')) > 2);
  t.match(failures(), [{ level: 40, why: /Unauthorized/ }], 'a token that is not taken (401) is told once');
  writeFileSync(tokenFile, await api.tokenOf('w', 'old'));

  await until(async () => (await ends('refused')) > 2);
  t.match(
    failures().slice(1),
    [{ level: 50, why: /cannot watch resource "configmaps"/ }],
    'the next token is read from its file; what it lacks (403) is named, once',
  );
  await make('b');
  await until(() => told.includes('+b'));
  t.pass('without the right to watch a list tells it, later');
  await api.must(
    'PATCH',
    `${ROLES}/roles/r`,
    { rules: rules(['list', 'watch']) },
    { type: 'application/merge-patch+json' },
  );
  await until(isOpen);
  // A watch is in order when it has told something too, which a quiet one does after a minute.
  await make('b2');
  await until(() => restored() === 1);

  await api.must('DELETE', '/api/v1/namespaces/w/serviceaccounts/old');
  writeFileSync(tokenFile, await api.tokenOf('w', 'new'));
  await api.stop();
  await api.start();
  await make('c');
  await until(() => told.includes('+c'));
  t.pass('it goes on with the token of now when that of before is not taken');
  t.equal(told.join(' '), '+a +b +b2 +c', 'each once');
});
