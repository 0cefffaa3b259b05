import t from 'tap';
import { createNoiseMeter } from '../../../src/sidecar/noise.ts';

t.test('X22: a connection is noise when what comes on it carries nothing', async (t) => {
  const meter = createNoiseMeter();
  const KEY_UPDATE = 27;
  const RECORD = 22;
  const rows = [
    { what: 'a thousand KeyUpdates a second', raw: 1_000 * KEY_UPDATE, content: 0, noise: false },
    { what: 'ten thousand', raw: 10_000 * KEY_UPDATE, content: 0, noise: true },
    { what: 'with some content between', raw: 10_000 * KEY_UPDATE + 100 * (RECORD + 1), content: 100, noise: true },
    { what: 'a byte of content for each', raw: 10_000 * (KEY_UPDATE + RECORD + 1), content: 10_000, noise: true },
    { what: 'records of a byte, as many', raw: 50_000 * (RECORD + 1), content: 50_000, noise: false },
    { what: 'bodies', raw: 500_000_000, content: 499_000_000, noise: false },
    { what: 'nothing at all', raw: 0, content: 0, noise: false },
  ];
  for (const { what, raw, content, noise } of rows) {
    const connection = {};
    t.notOk(
      meter(connection, 5_000, () => 0),
      'a handshake, before the first look',
    );
    for (let second = 1; second <= 2; second++) {
      t.equal(
        meter(connection, 5_000 + second * raw, () => second * content),
        noise,
        what,
      );
    }
  }
});
