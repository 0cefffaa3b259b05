import { createCsr } from '../../src/pki/csr.ts';
import { generateKey } from '../../src/pki/keys.ts';
import { createTimer, emptyStorage, inParallel, openFleet, rate } from './manager.ts';

const TARGET = 200;

/** Requests of sidecars, signed by an EC issuer: from the token to the certificate on disk, in one process. */
export async function fleetSign(count: number): Promise<number> {
  const { timed, line, missed } = createTimer();
  await using storage = await emptyStorage();
  await using fleet = await openFleet(storage.storagePath);
  const { manager } = fleet;
  const asked: Array<{ readonly token: string; readonly csr: string }> = [];
  await inParallel(count, 16, async (i) => {
    const service = `sidecar-${i}`;
    const { token } = await manager.tokens.create({ service });
    asked.push({ token, csr: createCsr(await generateKey('ecdsa-p256'), service) });
  });
  const sign = (i: number) => manager.enroll({ ...(asked[i] ?? { token: '', csr: '' }), remote: '127.0.0.1' });
  let cpu = 0;
  await timed(`sign ${count} requests`, () => inParallel(count, 16, sign), {
    more(result, took) {
      cpu = (count / took.cpuMs) * 1000;
      return rate(count)(result, took);
    },
  });
  line('on one core', `${cpu.toFixed(0)} a second, of ${TARGET}`, cpu >= TARGET);
  return missed();
}
