import t from 'tap';
import { startApiServer } from '../cluster/api-server.ts';
import { cli } from '../support/cli.ts';
import { until } from '../support/until.ts';

const LABEL = 'certificate.ai-teddy.com/inject';

t.test('where it is asked for, no pod comes into a labelled namespace without sidecar, webhook or not', async (t) => {
  const api = await startApiServer(t);
  await api.kubectl(['apply', '-f', '-'], (await cli(['install', '--require-sidecar'])).stdout);
  for (const [name, labels] of [
    ['shop', { [LABEL]: 'enabled' }],
    ['other', {}],
  ] as const) {
    await api.must('POST', '/api/v1/namespaces', { metadata: { name, labels } });
    await api.must('POST', `/api/v1/namespaces/${name}/serviceaccounts`, { metadata: { name: 'default' } });
  }
  const containers = [{ name: 'app', image: 'app:1' }];
  const initContainers = [{ name: 'sidelock', image: 'sidecar:1', restartPolicy: 'Always' }];
  const make = (namespace: string, generateName: string, spec: object = {}, labels: object = {}) =>
    api.ask('POST', `/api/v1/namespaces/${namespace}/pods`, {
      metadata: { generateName, labels },
      spec: { containers, ...spec },
    });
  // The webhook of the installation is not there, and its policy is Ignore; ours holds a moment after it was made.
  await until(async () => (await make('shop', 'first-')).status !== 201, { every: 100 });
  t.match(await make('shop', 'bare-'), { status: 422, body: { message: /it has no sidecar: annotate it/ } });
  t.match(await make('shop', 'with-', { initContainers }), { status: 201 });
  t.match(await make('shop', 'out-', {}, { [LABEL]: 'disabled' }), { status: 201 });
  t.match(await make('other', 'bare-'), { status: 201 });
});
