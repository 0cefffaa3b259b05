import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { requireProgram } from '../support/programs.ts';
import { freePort, run } from '../support/servers.ts';
import { until } from '../support/until.ts';

/** Long, for a busy machine that builds and starts it all; what is waited for comes within seconds. */
const PATIENCE = { every: 500, within: 120_000 };

const needed = ['buildah', 'podman', 'podman-compose', 'mmdebstrap'];
if (needed.every((name) => requireProgram(t, name) !== undefined)) {
  const directory = mkdtempSync(join(tmpdir(), 'sidelock-containers-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const env = { ...process.env, BUILDER: 'buildah', CONTAINERS_CONF: containersConf(directory) };
  const sh = async (program: string, ...args: string[]) =>
    (await run(program, args, { env, maxBuffer: 1 << 26 })).stdout.trim();

  await t.test('the images hold Node and the program, and nothing to break in with', async (t) => {
    await sh('bash', 'test/containers/base.sh');
    await sh('npm', 'run', '--silent', 'images');
    for (const image of ['localhost/sidelock-manager', 'localhost/sidelock-sidecar']) {
      t.equal(await sh('podman', 'inspect', '-f', '{{.Config.User}}', image), '65532:65532', `${image}: not root`);
      t.match(await sh('podman', 'run', '--rm', image, '--version'), /^\d+\.\d+\.\d+/);
      await t.rejects(sh('podman', 'run', '--rm', '--entrypoint', 'sh', image, '-c', 'true'), `${image}: no shell`);
      const files = await filesOf(sh, image);
      t.equal(files.filter((line) => /^.{9}/.exec(line)?.[0].includes('s')).length, 0, `${image}: no set-uid file`);
      t.notOk(files.some((line) => /\/(npm|apt|dpkg|perl|busybox)$/.test(line)));
      const bytes = Number(await sh('podman', 'inspect', '-f', '{{.Size}}', image));
      t.comment(`${image}: ${Math.round(bytes / 1e6)} MB, ${files.length} entries`);
    }
  });

  await t.test('the compose file: a call through both sidecars, a rotation, a manager restart', async (t) => {
    const project = `sidelock${process.pid}`;
    const port = await freePort();
    Object.assign(env, { WEB_PORT: String(port), MTLS_CERTIFICATES_VALIDITY: '30s' });
    const compose = (...args: string[]) => sh('podman-compose', '-f', 'docker/compose.yaml', '-p', project, ...args);
    const container = (service: string) => `${project}_${service}_1`;
    const said = async (service: string, what: string) => {
      const { stdout, stderr } = await run('podman', ['logs', container(service)], { env, maxBuffer: 1 << 26 });
      return `${stdout}${stderr}`.split(what).length - 1;
    };
    t.teardown(() => compose('down', '-v', '-t', '5'));
    await compose('up', '-d', '--no-build');

    const asks = async () => {
      const response = await fetch(`http://127.0.0.1:${port}/`);
      return (await response.json()) as { service: string; asked?: { service: string; caller?: string } };
    };
    const answer = await eventually(async () => {
      const got = await asks();
      return got.asked === undefined ? undefined : got;
    });
    t.equal(answer.service, 'web');
    t.equal(answer.asked?.service, 'orders');
    t.match(answer.asked?.caller, /URI=spiffe:\/\/ai-teddy\.local\/ns\/default\/sa\/web/, 'orders knows who called');

    const renewed = '"event":"renewed"';
    const times = await eventually(async () => (await said('web-sidecar', renewed)) || undefined);
    t.match(await asks(), { asked: { service: 'orders' } }, 'after a rotation');

    await sh('podman', 'restart', '-t', '5', container('mtls-manager'));
    await eventually(async () => ((await said('web-sidecar', renewed)) > times ? true : undefined));
    await eventually(async () => ((await said('orders-sidecar', renewed)) > 0 ? true : undefined));
    t.match(await asks(), { asked: { service: 'orders' } }, 'after a restart of the manager');
    t.match(
      await sh('podman', 'exec', container('mtls-manager'), '/usr/local/bin/sidelock', 'list'),
      /orders[\s\S]*web/,
    );
  });
}

/** Limits and the runtime that work inside of a container or a small virtual machine too. */
function containersConf(directory: string): string {
  const file = join(directory, 'containers.conf');
  const ulimits = 'default_ulimits = ["nofile=1024:20000", "nproc=1024:20000"]';
  writeFileSync(file, `[containers]\n${ulimits}\n[engine]\nruntime = "runc"\n`);
  return file;
}

/** Lines of `tar -tv`, mode first. */
async function filesOf(sh: (program: string, ...args: string[]) => Promise<string>, image: string): Promise<string[]> {
  const id = await sh('podman', 'create', image);
  try {
    const list = await sh('bash', '-c', `podman export ${id} | tar -tv | tr -s ' ' | cut -d' ' -f1,6-`);
    return list.split('\n');
  } finally {
    await sh('podman', 'rm', id);
  }
}

async function eventually<T>(look: () => Promise<T | undefined>): Promise<T> {
  let found: T | undefined;
  let cause: unknown;
  const sees = async () => {
    try {
      found = await look();
    } catch (error) {
      cause = error;
    }
    return found !== undefined;
  };
  await until(sees, PATIENCE).catch(() => {});
  if (found === undefined) throw new Error(`what was waited for did not come: ${look}`, { cause });
  return found;
}
