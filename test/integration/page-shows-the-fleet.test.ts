import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import axe from 'axe-core';
import type { Page } from 'puppeteer-core';
import t, { type Test } from 'tap';
import { listen } from '../../src/base/listen.ts';
import { openBrowser } from '../support/browser.ts';
import { cli, shortDirectory, startCli } from '../support/cli.ts';

const ENV = { MTLS_CA_KEY_SIZE: '2048', MTLS_MONITORING_HEALTH_CHECK_INTERVAL: '1s' };
const LOCAL = ['--listen', '127.0.0.1:0', '--health', '127.0.0.1:0'];
const ROOT = join(import.meta.dirname, '../..');
/** Where pictures go, for a person to look at; none unless set. */
const PICTURES = process.env['SIDELOCK_PICTURES'];

t.before(() => {
  execFileSync(process.execPath, ['docker/page.ts'], { cwd: ROOT });
});

async function startManager(t: Test) {
  const storage = join(shortDirectory(t), 'pki');
  const manager = startCli(['manager', '--storage', storage, '-o', 'json', ...LOCAL], { env: ENV });
  t.teardown(() => manager.child.kill('SIGKILL'));
  await manager.saw(/"ready": true/);
  const { health } = JSON.parse(manager.stdout()) as { health: { address: string; port: number } };
  return { storage, manager, url: `http://${health.address}:${health.port}/`, ...health };
}

interface SidecarStart {
  readonly storage: string;
  readonly service: string;
  readonly flags: readonly string[];
}

/** One that enrolled, of a process of its own. */
async function startSidecar(t: Test, { storage, service, flags }: SidecarStart) {
  const { stdout } = await cli(['token', 'create', service, '--storage', storage], { env: ENV });
  const cwd = shortDirectory(t);
  const sidecar = startCli(['sidecar', '--service', service, ...flags, '--token', stdout.trim(), '-o', 'json'], {
    cwd,
  });
  t.teardown(() => sidecar.child.kill('SIGKILL'));
  await sidecar.saw(/crl_loaded/);
  return sidecar;
}

/** What the page complains of, from its first moment. */
async function watchErrors(page: Page): Promise<string[]> {
  const errors: string[] = [];
  page.on('console', (line) => line.type() === 'error' && errors.push(line.text()));
  page.on('pageerror', (error) => errors.push(String(error)));
  await page.exposeFunction('violated', (what: string) => errors.push(`CSP: ${what}`));
  await page.evaluateOnNewDocument(`
    addEventListener('securitypolicyviolation', (e) => violated(e.violatedDirective + ' ' + e.blockedURI));
  `);
  return errors;
}

const textOf = (page: Page) => page.evaluate('document.body.innerText') as Promise<string>;
const saw = (page: Page, text: string) =>
  page.waitForFunction(`document.body.innerText.includes(${JSON.stringify(text)})`, { timeout: 60_000 });

async function accessibilityFaults(page: Page): Promise<string[]> {
  // By the debugger: the page's own policy lets no script of ours in.
  await page.evaluate(axe.source);
  const found = (await page.evaluate('axe.run()')) as {
    violations: Array<{ id: string; nodes: Array<{ html: string }> }>;
  };
  return found.violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(' | ')}`);
}

t.test('the page shows services, and an alert when it begins', async (t) => {
  const browser = await openBrowser(t);
  if (browser === undefined) return;
  const { storage, url } = await startManager(t);
  for (const service of ['orders', 'web', 'ai-conversation-service']) {
    t.match(await cli(['generate', '--service', service, '--storage', storage]), { code: 0 });
  }
  const page = await browser.newPage();
  await page.setViewport({ width: 1280, height: 1000 });
  const errors = await watchErrors(page);
  await page.goto(url);
  await saw(page, 'ai-conversation-service');
  await saw(page, 'Nothing is wrong.');
  await saw(page, '3 of 3');
  t.match(await textOf(page), /AI-Teddy-CA.*3 of 3.*orders/s);
  await picture(page, 'light');

  await page.type('input[type=search]', 'web');
  await saw(page, '1 of 3');
  await page.click('input[type=search]', { count: 3 });
  await page.keyboard.press('Backspace');
  await page.click('thead button');
  await page.waitForSelector('th[aria-sort=ascending] button');
  t.strictSame(await page.$$eval('tbody th[title]', (cells) => cells.map(({ textContent }) => textContent)), [
    'ai-conversation-service',
    'orders',
    'web',
  ]);

  t.match(await cli(['generate', '--service', 'late', '--storage', storage]), { code: 0 });
  await saw(page, '4 of 4');
  writeFileSync(join(storage, 'orders', 'cert.pem'), 'damaged');
  await saw(page, 'the files of orders cannot be served');
  t.match(await textOf(page), /CertificateUnusable/);

  for (const scheme of ['light', 'dark'] as const) {
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
    t.strictSame(await accessibilityFaults(page), [], `axe, ${scheme}`);
  }
  await picture(page, 'dark');
  await page.setViewport({ width: 360, height: 800 });
  const overflow = await page.evaluate('document.documentElement.scrollWidth - innerWidth');
  t.equal(overflow, 0, 'a narrow screen need not be scrolled sideways');
  await picture(page, 'narrow');
  await page.select('select', 'light');
  await page.waitForSelector('html[data-theme=light]');
  t.strictSame(errors, []);
});

t.test('the page shows what sidecars serve, and how one root follows another', async (t) => {
  const browser = await openBrowser(t);
  if (browser === undefined) return;
  const { storage, url } = await startManager(t);
  await startSidecar(t, {
    storage,
    service: 'orders',
    flags: ['--inbound', '127.0.0.1:0:127.0.0.1:1', '--allow', 'web'],
  });
  const page = await browser.newPage();
  await page.setViewport({ width: 1280, height: 1000 });
  const errors = await watchErrors(page);
  await page.goto(url);
  await saw(page, 'this one, current roots');
  await saw(page, '1 of 1 sidecars have the bundle in force.');
  t.match(await textOf(page), /steady\s+One root, no change under way\.\s+root 1 \([0-9a-f]{8}\) signs/);

  t.match(await cli(['trust', 'stage', '--storage', storage], { env: ENV }), { code: 0 });
  await saw(page, 'root 2');
  await saw(page, 'Nobody stands against the next step.');
  t.match(await cli(['token', 'create', 'web', '--storage', storage], { env: ENV }), { code: 0 });
  t.match(await cli(['trust', 'activate', '--storage', storage], { env: ENV }), { code: 0 });
  await saw(page, 'a join token that pins the old root is open');
  t.match(await textOf(page), /next: sidelock trust retire/);
  for (const scheme of ['light', 'dark'] as const) {
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
    t.strictSame(await accessibilityFaults(page), [], `axe, ${scheme}`);
    await picture(page, `rollover-${scheme}`);
  }
  await page.setViewport({ width: 360, height: 800 });
  t.equal(await page.evaluate('document.documentElement.scrollWidth - innerWidth'), 0, 'narrow');
  await picture(page, 'rollover-narrow');
  t.strictSame(errors, []);
});

t.test('the page shows who talks to whom, and with what', async (t) => {
  const browser = await openBrowser(t);
  if (browser === undefined) return;
  const { storage, url } = await startManager(t);
  const app = createServer((socket) => socket.on('error', () => {}).pipe(socket));
  t.teardown(() => app.close());
  const { port } = await listen(app, { host: '127.0.0.1', port: 0 }, 'an app');
  const config = join(shortDirectory(t), 'sidecar.yaml');
  writeFileSync(
    config,
    `kind: Sidecar
service: orders
identity: { source: manager }
inbound: [{ listen: 127.0.0.1:0, target: 127.0.0.1:${port}, mode: permissive, allow: [web] }]
`,
  );
  const orders = await startSidecar(t, { storage, service: 'orders', flags: ['--config', config] });
  const [, inbound = ''] = await orders.saw(/"inbound":\[\{"name":"[^"]*","address":"([^"]+)"/);
  const upstream = ['--upstream', `127.0.0.1:0=orders@${inbound}`];
  const web = await startSidecar(t, { storage, service: 'web', flags: upstream });
  const [, outbound = ''] = await web.saw(/"outbound":\[\{"name":"[^"]*","address":"([^"]+)"/);
  const page = await browser.newPage();
  await page.setViewport({ width: 1280, height: 1000 });
  const errors = await watchErrors(page);
  await page.goto(url);
  await saw(page, '0 with mTLS, 0 in plaintext');

  const call = async (address: string) => {
    const [host = '', to = ''] = address.split(':');
    const socket = connect(Number(to), host).on('error', () => {});
    t.teardown(() => socket.destroy());
    socket.write('GET / HTTP/1.1\r\n\r\n');
    await once(socket, 'data');
  };
  await call(outbound);
  await saw(page, '1 with mTLS, 0 in plaintext');
  await call(inbound);
  await saw(page, '1 with mTLS, 1 in plaintext');
  const shown = await page.$$eval('section[aria-labelledby=edges] tbody tr', (rows) =>
    rows.map(({ textContent }) => textContent?.replaceAll(/\s+/g, ' ').trim()),
  );
  const id = (service: string) => `${service} spiffe://ai-teddy.local/ns/default/sa/${service}`;
  t.strictSame(shown, [
    `127.0.0.1 (no identity)─ ─▶ plaintext${id('orders')}1 so far`,
    `${id('web')}══▶ mTLS${id('orders')}1 open`,
  ]);
  for (const scheme of ['light', 'dark'] as const) {
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
    t.strictSame(await accessibilityFaults(page), [], `axe, ${scheme}`);
    await picture(page, `edges-${scheme}`);
  }
  await page.setViewport({ width: 360, height: 800 });
  t.equal(await page.evaluate('document.documentElement.scrollWidth - innerWidth'), 0, 'narrow');
  await picture(page, 'edges-narrow');
  t.strictSame(errors, []);
});

t.test('a manager that is gone is said to be, and found again', async (t) => {
  const browser = await openBrowser(t);
  if (browser === undefined) return;
  const { storage, manager, url, port } = await startManager(t);
  const page = await browser.newPage();
  await page.goto(url);
  await saw(page, 'live');
  manager.child.kill('SIGKILL');
  await saw(page, 'connection lost');
  const again = startCli(
    ['manager', '--storage', storage, '--listen', '127.0.0.1:0', '--health', `127.0.0.1:${port}`],
    {
      env: ENV,
    },
  );
  t.teardown(() => again.child.kill('SIGKILL'));
  await page.waitForSelector('.connection.live', { timeout: 60_000 });
});

t.test('M50, P24: read-only, its own scripts only, under its own names only', async (t) => {
  const { port } = await startManager(t);
  const ask = (path: string, headers: Record<string, string> = {}, method = 'GET') =>
    new Promise<{ status: number | undefined; policy: unknown }>((resolve, reject) => {
      request({ host: '127.0.0.1', port, path, headers, method, agent: false }, (response) => {
        response.resume();
        const { statusCode: status, headers } = response;
        resolve({ status, policy: headers['content-security-policy'] });
      })
        .on('error', reject)
        .end();
    });
  t.match(await ask('/'), { status: 200, policy: /default-src 'none'; script-src 'self'/ });
  t.match(await ask('/page.js'), { status: 200, policy: /script-src 'self'/ });
  t.match(await ask('/v1/inventory', { host: 'localhost:1' }), { status: 200 });
  for (const path of ['/', '/v1/dashboard', '/v1/inventory', '/v1/events']) {
    t.match(await ask(path, { host: 'rebound.example' }), { status: 403 }, `${path} under a name of somebody else`);
    for (const method of ['POST', 'PUT', 'DELETE'])
      t.match(await ask(path, {}, method), { status: 404 }, `${method} ${path}`);
  }
  t.match(await ask('/../package.json'), { status: 404 });
  t.match(await ask('/healthz', { host: 'sidelock-manager.shop.svc' }), { status: 200 }, 'probes come under any name');
});

async function picture(page: Page, name: string): Promise<void> {
  if (PICTURES === undefined) return;
  mkdirSync(PICTURES, { recursive: true });
  await page.screenshot({ path: `${PICTURES}/${name}.png`, fullPage: true });
}
