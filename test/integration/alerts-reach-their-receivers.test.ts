import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { SMTPServer } from 'smtp-server';
import t from 'tap';
import { systemClock } from '../../src/base/clock.ts';
import { createLogger } from '../../src/base/log.ts';
import type { Finding } from '../../src/manager/alerts/alert.ts';
import { createAlertCenter, type Receiver } from '../../src/manager/alerts/alert-manager.ts';
import { alertmanagerReceiver, webhookReceiver } from '../../src/manager/alerts/http.ts';
import { mailReceiver } from '../../src/manager/alerts/mail.ts';
import { temporaryDirectory } from '../support/manager/rig.ts';
import { requireProgram } from '../support/programs.ts';
import { freePort } from '../support/servers.ts';
import { until } from '../support/until.ts';

const FINDING: Finding = {
  ...{ rule: 'CertificateExpiryCritical', level: 'critical', serviceName: 'orders', namespace: 'default' },
  ...{ message: 'the certificate of orders ends tomorrow', fix: 'sidelock generate --service orders' },
};

/** Reports to one receiver; each call resolves with what became of it. */
function reporting(t: { teardown(work: () => void): unknown }, receiver: Receiver) {
  const stop = new AbortController();
  t.teardown(() => stop.abort());
  let settled = (_result: string) => {};
  const center = createAlertCenter({
    ...{ clock: systemClock, log: createLogger({ level: 'silent' }), signal: stop.signal },
    onDelivery: (result) => settled(result),
  });
  center.register(receiver);
  return (...found: Finding[]) =>
    new Promise<string>((resolve) => {
      settled = resolve;
      center.report(found);
    });
}

// What is waited for between tries is the wait of the receiver, not of the test.
const retries = { clock: { ...systemClock, sleep: async () => {} }, random: () => 0 };

t.test('a webhook gets JSON, again while it fails, and hears of the end', async (t) => {
  const got: Array<{ alerts: Array<Record<string, unknown>> }> = [];
  let failures = 2;
  const server = createServer(async (request, response) => {
    const body = await text(request);
    if (failures-- > 0) return response.writeHead(503).end();
    got.push(JSON.parse(body));
    return response.writeHead(204).end();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const address = server.address();
  const url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}/hook`;
  const report = reporting(t, webhookReceiver({ url, level: 'warning', ...retries }));
  t.equal(await report(FINDING), 'ok');
  t.equal(await report(), 'ok');
  failures = 3;
  t.equal(await report(FINDING), 'failed');
  t.equal(await report(FINDING), 'ok', 'told by the next check');
  t.match(
    got.map(({ alerts }) => alerts),
    [
      [{ ...FINDING, id: 'CertificateExpiryCritical/default/orders', state: 'firing', startsAt: /^\d{4}-.*Z$/ }],
      [{ state: 'resolved', endsAt: /Z$/ }],
      [{ state: 'firing' }],
    ],
  );
});

t.test('Alertmanager shows the alert, and that it is over', async (t) => {
  const program = requireProgram(t, 'prometheus-alertmanager');
  if (program === undefined) return;
  const directory = await temporaryDirectory(t);
  const config = join(directory, 'alertmanager.yml');
  await writeFile(config, 'route: {receiver: nobody}\nreceivers: [{name: nobody}]\n');
  const url = `http://127.0.0.1:${await freePort()}`;
  const flags = [`--config.file=${config}`, `--storage.path=${directory}`, '--cluster.listen-address='];
  const child = spawn(program, [...flags, `--web.listen-address=${new URL(url).host}`], { stdio: 'ignore' });
  const ended = once(child, 'exit');
  t.teardown(async () => {
    child.kill();
    await ended;
  });
  const answers = () =>
    fetch(`${url}/-/ready`).then(
      ({ ok }) => ok,
      () => false,
    );
  await until(answers, { every: 50 });

  const alerts = async (): Promise<unknown> => await (await fetch(`${url}/api/v2/alerts`)).json();
  const report = reporting(t, alertmanagerReceiver({ url: `${url}/`, level: 'warning', everyMs: 600_000, ...retries }));
  t.equal(await report(FINDING), 'ok');
  t.match(await alerts(), [
    {
      labels: { alertname: 'CertificateExpiryCritical', severity: 'critical', service: 'orders', source: 'sidelock' },
      annotations: { summary: FINDING.message, fix: FINDING.fix },
      status: { state: /active|unprocessed/ },
    },
  ]);
  t.equal(await report(FINDING), 'ok', 'repeated, so that it does not end by itself');
  t.equal(await report(), 'ok');
  t.strictSame(await alerts(), []);
});

interface Mail {
  readonly text: string;
  readonly to: readonly string[];
}

async function mailServer(t: { teardown(work: () => Promise<void>): unknown }, secure: boolean) {
  const mails: Mail[] = [];
  const server = new SMTPServer({
    authOptional: true,
    hideSTARTTLS: !secure,
    onData(stream, session, done) {
      const to = session.envelope.rcptTo.map(({ address }) => address);
      void text(stream).then((body) => {
        mails.push({ text: body, to });
        done();
      });
    },
  });
  server.on('error', () => {});
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => new Promise((resolve) => server.close(resolve)));
  const address = server.server.address();
  if (address === null || typeof address === 'string') throw new TypeError('a port was expected');
  return { mails, port: address.port };
}

t.test('one mail tells all that is new', async (t) => {
  const { mails, port } = await mailServer(t, false);
  const to = ['security@ai-teddy.example', 'ops@ai-teddy.example'];
  const options = { host: '127.0.0.1', port, from: 'sidelock@ai-teddy.example', to, level: 'error' as const };
  const report = reporting(t, mailReceiver({ ...options, security: 'off' }));
  t.equal(await report(FINDING, { ...FINDING, serviceName: 'web', message: 'so does web' }), 'ok');
  t.equal(await report({ ...FINDING, serviceName: 'web' }), 'ok');
  t.strictSame(
    mails.map((mail) => mail.to),
    [to, to],
  );
  t.match(mails[0]?.text, /^Subject: \[sidelock critical\] Certificate Alert: orders and 1 more/m);
  for (const { message, fix } of [FINDING]) for (const part of [message, fix]) t.match(mails[0]?.text, part);
  t.match(mails[1]?.text, /^Subject: \[sidelock resolved\] Certificate Alert: orders/m);
});

t.test('with starttls nothing is mailed in the clear, nor to a server that cannot prove its name', async (t) => {
  for (const secure of [false, true]) {
    const { mails, port } = await mailServer(t, secure);
    const options = { host: '127.0.0.1', port, from: 'a@b.example', to: ['c@d.example'], level: 'error' as const };
    t.equal(await reporting(t, mailReceiver({ ...options, security: 'starttls' }))(FINDING), 'failed');
    t.strictSame(mails, []);
  }
});
