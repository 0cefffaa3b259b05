import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { connect as tlsConnect } from 'node:tls';
import t from 'tap';
import { startFaultRig } from '../support/faults/rig.ts';
import type { Trio } from '../support/identity-files.ts';
import { until } from '../support/until.ts';

const ROUNDS = 4;

t.test('F31 one bad config after the other: the rules of before stay, and nobody else is let in', async (t) => {
  const rig = await startFaultRig(t);
  const { orders, ports, authority } = rig;
  const file = orders.configFile;
  const good = await readFile(file, 'utf8');
  const stranger = authority.issue('billing');
  const change = (edit: (inbound: Record<string, unknown>) => void) => {
    const document = JSON.parse(good);
    for (const inbound of document.inbound) edit(inbound);
    return JSON.stringify(document);
  };
  const bad = [
    '',
    good.slice(0, good.length / 2),
    '{ not yaml',
    change((inbound) => {
      inbound['allow'] = 'all';
    }),
    change((inbound) => {
      inbound['allow'] = ['*'];
    }),
    change((inbound) => {
      delete inbound['allow'];
    }),
    change((inbound) => {
      inbound['alow'] = 'any';
    }),
    change((inbound) => {
      inbound['policy'] = 'off';
    }),
    undefined,
  ];
  const successful = () => orders.metric('sidelock_config_last_reload_successful ');
  t.equal(await successful(), 1);
  t.equal(await calls(ports.tcpIn, authority.issue('web')), true);
  t.equal(await calls(ports.tcpIn, stranger), false);

  let tries = 0;
  for (let round = 0; round < ROUNDS; round++) {
    for (const text of bad) {
      if (text === undefined) await rm(file, { force: true });
      else {
        // Now by a rename, now in place.
        const place = round % 2 === 0 ? `${file}.new` : file;
        await writeFile(place, text);
        if (place !== file) await rename(place, file);
      }
      if (round === 0) await until(async () => (await successful()) === 0);
      else await delay(20);
      if (await calls(ports.tcpIn, stranger)) t.fail(`a stranger was let in by ${text}`);
      tries++;
    }
  }
  t.equal(await successful(), 0);
  t.match(orders.events('config_reload_failed')[0], { fix: String, why: String, file });
  t.comment(`${tries} bad files, ${orders.events('config_reload_failed').length} lines in the log`);

  await writeFile(file, good);
  await until(async () => (await successful()) === 1);
  t.equal(await calls(ports.tcpIn, stranger), false);
  await rig.finish(t);
});

/** Whether a byte comes back from the app. */
function calls(port: number, { cert, key, ca }: Trio): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = tlsConnect({ port, host: '127.0.0.1', cert, key, ca, checkServerIdentity: () => undefined });
    socket.on('error', () => {});
    socket.once('secureConnect', () => socket.write('x'));
    socket.once('close', () => resolve(false));
    socket.once('data', () => {
      socket.destroy();
      resolve(true);
    });
  });
}
