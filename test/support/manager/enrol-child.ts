import { readFileSync } from 'node:fs';
import { systemClock } from '../../../src/base/clock.ts';
import { createLogger } from '../../../src/base/log.ts';
import { openManager } from './rig.ts';

/**
 * Enrols once and dies by SIGKILL at the nth time that it looks at the clock or writes a line to its log on the way.
 * Every step of an enrolment does one of them (check, use, sign, audit, record), so the numbers from 1 on are points
 * between the steps. Arguments: storage, n, file with the token, file with the request. Prints `done` when it survived.
 */
const [storage = '', nth = '', tokenFile = '', csrFile = ''] = process.argv.slice(2);
let left = Number.POSITIVE_INFINITY;
const step = () => {
  left -= 1;
  if (left === 0) process.kill(process.pid, 'SIGKILL');
};
const clock = {
  ...systemClock,
  now() {
    step();
    return systemClock.now();
  },
};
await using manager = await openManager(storage, clock, {
  log: createLogger({ level: 'info', stream: { write: step } }),
});
left = Number(nth);
await manager.enroll({
  token: readFileSync(tokenFile, 'utf8'),
  csr: readFileSync(csrFile, 'utf8'),
  remote: '127.0.0.1',
});
left = Number.POSITIVE_INFINITY;
process.stdout.write('done');
