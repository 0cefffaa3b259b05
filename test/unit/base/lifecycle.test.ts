import t from 'tap';
import { Drain, Readiness } from '../../../src/base/lifecycle.ts';

t.test('ready when no blocker is left; the newest text of a blocker counts', (t) => {
  const readiness = new Readiness();
  t.ok(readiness.ready, 'nothing stands in the way yet');
  readiness.block('identity', 'no certificate yet');
  readiness.block('listeners', 'not bound');
  readiness.block('identity', 'the manager is away');
  t.notOk(readiness.ready);
  t.match(readiness.blockers(), [
    { name: 'identity', why: 'the manager is away' },
    { name: 'listeners', why: 'not bound' },
  ]);
  readiness.unblock('identity');
  readiness.unblock('identity');
  t.notOk(readiness.ready);
  readiness.unblock('listeners');
  t.ok(readiness.ready);
  t.end();
});

t.test('a drain waits for what is in use, or for its signal', async (t) => {
  const drain = new Drain();
  const forever = new AbortController().signal;
  t.equal(await drain.wait(forever), true, 'nothing in use');

  drain.enter();
  drain.enter();
  const idle = drain.wait(forever);
  drain.leave();
  t.equal(drain.count, 1);
  drain.leave();
  t.equal(await idle, true);

  drain.enter();
  const limit = new AbortController();
  const cut = drain.wait(limit.signal);
  limit.abort();
  t.equal(await cut, false, 'the signal came first');
  t.equal(await drain.wait(AbortSignal.abort()), false, 'too late to wait');
  drain.leave();
  t.equal(await drain.wait(AbortSignal.abort()), true, 'nothing to wait for');
});
