import { createServer } from 'node:http';
import { join } from 'node:path';
import t from 'tap';
import { listen } from '../../src/base/listen.ts';
import { shortDirectory, startCli } from '../support/cli.ts';
import { overwrite, swap, testAuthority } from '../support/identity-files.ts';
import { servedSerial } from '../support/load.ts';
import { requireProgram } from '../support/programs.ts';
import { freePort, run } from '../support/servers.ts';

/** Run by `npm run soak:rotation`; timed by its nature, so not part of `npm test`. */
const SECONDS = 60;

for (const [how, put] of [
  ['one rename', swap],
  ['overwriting one file after another', overwrite],
] as const) {
  t.test(`${SECONDS} s of wrk while both identities rotate every second by ${how}`, async (t) => {
    const wrk = requireProgram(t, 'wrk');
    if (wrk === undefined) return;
    const directory = shortDirectory(t);
    const authority = testAuthority();
    const app = createServer({ keepAliveTimeout: 0 }, (_, response) => response.end('ok'));
    const { port } = await listen(app, { host: '127.0.0.1', port: 0 }, 'the app');
    t.teardown(() => {
      app.close();
      app.closeAllConnections();
    });
    const [inbound, outbound] = [await freePort(), await freePort()];
    const [orders, web] = [join(directory, 'orders'), join(directory, 'web')];
    await Promise.all([swap(orders, authority.issue('orders')), swap(web, authority.issue('web'))]);
    for (const [identity, flags] of [
      [orders, ['--inbound', `127.0.0.1:${inbound}:127.0.0.1:${port}`, '--allow', 'web']],
      [web, ['--upstream', `${outbound}=orders@127.0.0.1:${inbound}`]],
    ] as const) {
      const sidecar = startCli(['sidecar', '--identity', identity, '--admin', '127.0.0.1:0', ...flags]);
      t.teardown(async () => {
        sidecar.child.kill('SIGTERM');
        await sidecar.ended;
      });
      await sidecar.saw(/sidecar ready/);
    }

    const url = `http://127.0.0.1:${outbound}/`;
    const keepAlive = run(wrk, ['-t1', '-c16', `-d${SECONDS}`, url]);
    const perConnection = run(wrk, ['-t1', '-c4', `-d${SECONDS}`, '-H', 'Connection: close', url]);
    const probe = authority.issue('web');
    const served: string[] = [];
    const issued: string[] = [];
    for (let second = 1; second < SECONDS - 1; second++) {
      const next = authority.issue('orders');
      await Promise.all([put(orders, next), put(web, authority.issue('web'))]);
      issued.push(next.serial);
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      served.push(await servedSerial(inbound, probe));
    }
    t.same(served, issued, `${served.length} rotations, each served within its second`);
    for (const [name, load] of [
      ['keep-alive', keepAlive],
      ['a connection a request', perConnection],
    ] as const) {
      const { stdout } = await load;
      t.comment(`${name}: ${/\d+ requests in [^\n]+/.exec(stdout)?.[0]}`);
      t.notMatch(stdout, /Socket errors|Non-2xx/, `${name}: no failed request`);
    }
  });
}
