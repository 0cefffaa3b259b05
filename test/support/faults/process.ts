import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Test } from 'tap';
import { type Cli, MAIN, startProgram } from '../cli.ts';
import type { LogLine } from '../identity-fakes.ts';
import { swap, type TestAuthority } from '../identity-files.ts';
import { until } from '../until.ts';

export interface SidecarProgram {
  /** Of node. */
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

const FROM_SOURCE: SidecarProgram = { args: ['--disable-sigusr1', MAIN, 'sidecar'], env: {} };

interface SidecarProcessOptions {
  readonly directory: string;
  readonly authority: TestAuthority;
  readonly service: string;
  /** What the config says besides the identity. */
  readonly config: object;
  /** What runs instead of the source. */
  readonly program?: SidecarProgram;
  /** Flags of node. */
  readonly node?: readonly string[];
  /** Shell commands that run before, in the process that becomes the sidecar, as `ulimit -n 64`. */
  readonly before?: string;
  /** Whether it may end in another way than by order. */
  readonly ready?: boolean;
}

/** A sidecar in a process of its own, and all that can be seen of it from outside. */
export interface SidecarProcess extends Cli {
  readonly pid: number;
  readonly configFile: string;
  /** Of its certificate, key and roots. */
  readonly identity: string;
  /** Where `admin` answers. */
  admin(): string;
  events(name: string): LogLine[];
  sawEvent(name: string): Promise<LogLine>;
  /** Sum of the series that start like this. */
  metric(start: string): Promise<number>;
  /** Bytes in memory. */
  rss(): number;
  /** The same without pages of files. */
  anonymous(): number;
  /** The row's last words: it has not crashed, wrote nothing but log lines, and ends in order when asked. */
  endsWell(t: Test): Promise<void>;
}

export async function startSidecarProcess(t: Test, options: SidecarProcessOptions): Promise<SidecarProcess> {
  const { directory, authority, service, config, node = [], before, program = FROM_SOURCE } = options;
  const identity = join(directory, service);
  await swap(identity, authority.issue(service));
  const configFile = join(directory, `${service}.json`);
  const document = {
    apiVersion: 'sidelock/v1',
    kind: 'Sidecar',
    trustDomain: 'ai-teddy.local',
    service,
    identity: { source: 'files', directory: identity },
    admin: { listen: '127.0.0.1:0' },
    ...config,
  };
  await writeFile(configFile, JSON.stringify(document));
  const words = [process.execPath, ...node, ...program.args, '--config', configFile];
  // Each node process raises its soft limit of descriptors to the hard one: what the test wants is set by a shell.
  const cli = startProgram('bash', ['-c', `${before ?? ':'}; exec "$@"`, 'bash', ...words], {
    env: program.env,
  });
  t.teardown(async () => {
    cli.child.kill('SIGCONT');
    cli.child.kill('SIGKILL');
    await cli.ended;
  });
  if (options.ready !== false) await cli.saw(/sidecar ready/);

  const lines = (): LogLine[] =>
    cli
      .stderr()
      .split('\n')
      .filter((line) => line.startsWith('{') && line.endsWith('}'))
      .map((line): LogLine => JSON.parse(line));
  const events = (name: string) => lines().filter(({ event }) => event === name);
  const memory = (what: string) => {
    const status = readFileSync(`/proc/${cli.child.pid}/status`, 'latin1');
    return Number(new RegExp(`^${what}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]) * 1024;
  };
  const admin = () => /^admin on (http\S+)$/m.exec(cli.stdout())?.[1] ?? '';
  return {
    ...cli,
    pid: cli.child.pid ?? 0,
    configFile,
    identity,
    admin,
    events,
    async sawEvent(name) {
      await until(() => events(name).length > 0);
      return events(name)[0] ?? {};
    },
    async metric(start) {
      const text = await (await fetch(`${admin()}/metrics`)).text();
      const found = text.split('\n').filter((line) => line.startsWith(start));
      return found.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
    },
    rss: () => memory('VmRSS'),
    anonymous: () => memory('RssAnon'),
    async endsWell(t) {
      t.equal(cli.child.exitCode ?? cli.child.signalCode, null, `${service} lives`);
      cli.child.kill('SIGTERM');
      const { code, stderr } = await cli.ended;
      t.equal(code, 0, `${service} ends in order`);
      // What it says to people begins with a sign.
      const strange = stderr.split('\n').filter((line) => line !== '' && !/^(?:\{|‼ )/.test(line));
      t.same(strange, [], `${service} wrote nothing but log lines: no unhandled rejection, no warning of Node`);
    },
  };
}
