import { readFileSync } from 'node:fs';
import { systemClock } from '../../../src/base/clock.ts';
import { openManager } from './rig.ts';

/**
 * Enrols once and dies by SIGKILL when it looks at the clock for the nth time on the way. Every step of an enrolment
 * takes the time (check, use, sign, record, audit), so the numbers from 1 on are points between them.
 * Arguments: storage, n, file with the token, file with the request. Prints `done` when it survived.
 */
const [storage = '', nth = '', tokenFile = '', csrFile = ''] = process.argv.slice(2);
let left = Number.POSITIVE_INFINITY;
const clock = {
  ...systemClock,
  now() {
    left -= 1;
    if (left === 0) process.kill(process.pid, 'SIGKILL');
    return systemClock.now();
  },
};
await using manager = await openManager(storage, clock);
left = Number(nth);
await manager.enroll({
  token: readFileSync(tokenFile, 'utf8'),
  csr: readFileSync(csrFile, 'utf8'),
  remote: '127.0.0.1',
});
left = Number.POSITIVE_INFINITY;
process.stdout.write('done');
