import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import t from 'tap';
import { systemClock } from '../../src/base/clock.ts';
import { createLogger } from '../../src/base/log.ts';
import { connectKubernetes } from '../../src/kubernetes/client.ts';
import { createPodReview } from '../../src/kubernetes/pod-review.ts';
import { findOwn } from '../../src/kubernetes/remains.ts';
import { secretClient } from '../../src/kubernetes/secret-client.ts';
import { deployCertificateAsSecret } from '../../src/kubernetes/secrets.ts';
import { ensureAuthority } from '../../src/kubernetes/webhook-authority.ts';
import { type ApiServer, startApiServer } from '../cluster/api-server.ts';
import { makeShop } from '../cluster/pod-requests.ts';

type Trouble = (request: IncomingMessage, response: ServerResponse) => boolean;

/** A small proxy before the API server; while there is trouble it answers in its place. */
async function startProxy(t: { teardown(end: () => void): void }, api: ApiServer) {
  let trouble: Trouble = () => false;
  let asked = 0;
  const ca = readFileSync(join(api.directory, 'apiserver.crt'));
  // As the API server itself: whoever asks need not know.
  const identity = { cert: ca, key: readFileSync(join(api.directory, 'apiserver.key')) };
  const server = createServer(identity, (incoming, response) => {
    asked++;
    if (trouble(incoming, response)) return;
    const { method, headers } = incoming;
    const onward = request(`${api.url}${incoming.url}`, { ...{ method, headers, ca }, agent: false }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      pipeline(answer, response).catch(() => {});
    });
    onward.on('error', () => response.destroy());
    pipeline(incoming, onward).catch(() => {});
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked: () => asked,
    /** Answers the next `times` requests so. */
    next(times: number, answer: (response: ServerResponse) => void) {
      trouble = (_, response) => {
        if (times-- <= 0) return false;
        answer(response);
        return true;
      };
    },
  };
}

const status = (code: number, message: string, headers: Record<string, string> = {}) => {
  const body = { kind: 'Status', apiVersion: 'v1', status: 'Failure', message, code };
  return (response: ServerResponse) =>
    response.writeHead(code, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
};

t.test('an API server that is slow, busy, away or refuses: told as what it is, and over when it is over', async (t) => {
  const api = await startApiServer(t);
  const proxy = await startProxy(t, api);
  const uid = await makeShop(api);
  process.env['KUBECONFIG'] = api.kubeconfig({ server: proxy.url });
  const kube = await connectKubernetes();
  const boundObjectRef = { kind: 'Pod', apiVersion: 'v1', name: 'orders-1', uid };
  const token = await api.tokenOf('shop', 'orders', { audiences: ['certificate.ai-teddy.com/ca'], boundObjectRef });
  const enrol = () => createPodReview(kube, createLogger({ level: 'silent' }))(token, '127.0.0.1');
  t.match(await enrol(), { pod: 'orders-1', serviceAccount: 'orders' });

  const rows: Array<[string, string, RegExp, (response: ServerResponse) => void, number?]> = [
    ['403', 'SL-KUBE-002', /cannot create/, status(403, 'sidelock cannot create resource "tokenreviews"')],
    ['410', 'SL-KUBE-002', /too old/, status(410, 'too old resource version')],
    ['500', 'SL-KUBE-002', /etcdserver/, status(500, 'etcdserver: leader changed')],
    ['no JSON', 'SL-KUBE-002', /status 502/, (response) => response.writeHead(502).end('<html>')],
    [
      'half an answer',
      'SL-KUBE-001',
      /ECONNRESET/,
      (r) => r.writeHead(200, { 'content-length': '9' }).write('{') && r.destroy(),
      9,
    ],
    ['a reset', 'SL-KUBE-001', /ECONNRESET/, (response) => response.destroy(), 9],
  ];
  for (const [name, code, why, answer, times = 1] of rows) {
    proxy.next(times, answer);
    await t.rejects(enrol(), { code, why }, name);
    proxy.next(0, answer);
    t.match(await enrol(), { pod: 'orders-1' }, 'and the next one is served');
  }

  proxy.next(1, (response) => response.destroy());
  t.match(await enrol(), { pod: 'orders-1' }, 'a connection that was closed while nobody used it is no trouble');

  proxy.next(2, status(429, 'too many requests', { 'retry-after': '1' }));
  const before = proxy.asked();
  t.match(await enrol(), { pod: 'orders-1' }, 'one that is busy is asked again when it says so');
  t.equal(proxy.asked() - before, 5);
  proxy.next(100, status(429, 'too many requests', { 'retry-after': '1' }));
  await t.rejects(enrol(), { code: 'SL-KUBE-002', why: /too many requests/ }, 'but not for ever');

  proxy.next(1, () => {});
  await t.rejects(enrol(), { code: 'SL-KUBE-001' }, 'one that never answers is given up');

  await api.stop();
  await t.rejects(enrol(), { code: 'SL-KUBE-001' }, 'while it restarts');
  await api.start();
  proxy.next(0, () => {});
  t.match(await enrol(), { pod: 'orders-1' }, 'and afterwards');

  await api.must('POST', '/api/v1/namespaces', { metadata: { name: 'sidelock-system' } });
  const secrets = secretClient(kube);
  const authority = () => ensureAuthority({ secrets, namespace: 'sidelock-system', clock: systemClock });
  let conflicts = 0;
  proxy.next(2, (response) => {
    conflicts++;
    status(conflicts === 1 ? 404 : 409, 'conflict')(response);
  });
  const made = await authority();
  t.equal(conflicts, 2, 'somebody else was first (409)');
  t.equal((await authority()).bundle, made.bundle, 'and it is looked up again');

  const account = '/api/v1/namespaces/shop/serviceaccounts/orders';
  const { metadata } = await api.must('GET', account);
  const { resourceVersion } = metadata as { readonly resourceVersion: string };
  await api.must('PATCH', account, { metadata: { labels: { a: 'b' } } }, { type: 'application/merge-patch+json' });
  t.equal(await kube.remove(account, resourceVersion), undefined, 'what was changed meanwhile (409) is not removed');
  t.match(await kube.get(account), { metadata: { labels: { a: 'b' } } });

  const pages: string[] = [];
  for (let at = 0; at < 3; at++) {
    const labels = { 'certificate.ai-teddy.com/managed-by': 'mtls-manager' };
    await api.must('POST', '/api/v1/namespaces/shop/secrets', { metadata: { name: `s${at}`, labels } });
  }
  const paged: typeof kube.get = async (path) => {
    if (!path.startsWith('/api/v1/secrets')) return await kube.get(path);
    pages.push(path);
    if (pages.length === 2) proxy.next(1, status(410, 'The provided continue parameter is too old'));
    return await kube.get(path.replace('limit=500', 'limit=1'));
  };
  const own = await findOwn({ get: paged }, 'sidelock-system');
  const names = own
    .flat()
    .flatMap(({ kind, namespace, name }) => (kind === 'secrets' && namespace === 'shop' ? [name] : []));
  t.same(names, ['s0', 's1', 's2'], 'a list that grew too old between its pages (410) is read again');

  await api.must('DELETE', '/api/v1/namespaces/shop');
  const late = { service: 'orders', namespace: 'shop', cert: 'c', key: 'k', ca: 'a' };
  await t.rejects(deployCertificateAsSecret(secrets, late, {}), { code: 'SL-KUBE-002', why: /being terminated/ });
});
