import t from 'tap';
import { MINUTE } from '../../../src/base/clock.ts';
import { startRig } from '../../support/manager/rig.ts';

const spiffe = (service: string) => `spiffe://ai-teddy.local/ns/default/sa/${service}`;

t.test(
  'a connection that both ends tell of is one edge; plaintext stands first; who is silent is forgotten',
  async (t) => {
    const rig = await startRig(t);
    const [orders, web] = [await rig.enroll('orders'), await rig.enroll('web')];
    const edge = (direction: 'inbound' | 'outbound', peer: string, connections: number, mtls = true) => ({
      ...{ direction, peer, mtls, connections },
    });
    await rig.client(orders).tellEdges([edge('inbound', spiffe('web'), 2), edge('inbound', '10.0.0.9', 6, false)]);
    await rig.client(web).tellEdges([edge('outbound', spiffe('orders'), 3), edge('outbound', spiffe('db'), 1)]);
    const list = () =>
      rig.manager.edges.list().map(({ from, to, mtls, connections }) => [from, mtls ? '=>' : '->', to, connections]);
    t.strictSame(list(), [
      ['10.0.0.9', '->', spiffe('orders'), 6],
      [spiffe('web'), '=>', spiffe('db'), 1],
      [spiffe('web'), '=>', spiffe('orders'), 3],
    ]);
    await rig.client(web).tellEdges([]);
    t.strictSame(list().at(-1), [spiffe('web'), '=>', spiffe('orders'), 2], 'what is told replaces what was');
    rig.clock.shift(6 * MINUTE);
    t.strictSame(list(), []);
  },
);

t.test('who shows no certificate of ours is not listened to, nor who is revoked', async (t) => {
  const rig = await startRig(t);
  const web = await rig.enroll('web');
  const answer = await fetch(`${rig.url}/v1/edges`, { method: 'POST' }).catch(() => undefined);
  t.equal(answer, undefined, 'not without TLS of ours');
  t.throws(() => rig.manager.edges.report([], []), { code: 'SL-API-002' });
  await rig.admin.revoke({ service: 'web', reason: 'keyCompromise' });
  await t.rejects(rig.client(web).tellEdges([]), { code: 'SL-API-002' });
});
