import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { attached } from './attached.ts';

const ROOT = join(import.meta.dirname, '../..');
export const MAIN = join(ROOT, 'src/cli/main.ts');
/** Where Node keeps what it compiled: half the start of a command is to strip types and to compile. */
const COMPILED = join(ROOT, '.tap/compiled');

interface CliOptions {
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  /** Flags of node itself, before the program. */
  readonly node?: readonly string[];
  readonly stdin?: string;
  /** In a process group of its own, so that a signal can reach all of it, as Ctrl-C does. */
  readonly group?: boolean;
}

export interface Cli {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  stdout(): string;
  stderr(): string;
  /** Resolves with the match once either stream has it; rejects with all that was written at the end, or two minutes later. */
  saw(pattern: RegExp): Promise<RegExpExecArray>;
}

interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A real process of the command line, with an environment of its own: nothing of the one the tests run in. */
export function startCli(args: readonly string[], options: CliOptions = {}): Cli {
  return startProgram(process.execPath, [...(options.node ?? []), MAIN, ...args], options);
}

/** Runs to its end. */
export function cli(args: readonly string[], options: CliOptions = {}): Promise<Ended> {
  return startCli(args, options).ended;
}

/**
 * Another program in the same environment. It is started by `env`, which becomes the program: tap adds itself to the
 * environment of whatever a test starts, and that environment is what some of these tests are about.
 */
export function startProgram(
  program: string,
  args: readonly string[],
  { env, cwd = ROOT, stdin, group = false }: CliOptions = {},
): Cli {
  const { PATH, HOME } = process.env;
  const own = { PATH, HOME, TMPDIR: tmpdir(), LANG: 'C.UTF-8', NODE_COMPILE_CACHE: COMPILED, ...env };
  const variables = Object.entries(own).flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`]));
  return watch(
    spawn(...attached('env', ['-i', ...variables, program, ...args]), {
      cwd,
      detached: group,
      stdio: ['pipe', 'pipe', 'pipe'],
    }),
    stdin,
  );
}

/** A directory whose path is short enough for the socket in it (107 bytes), removed with the test. */
export function shortDirectory(t: { teardown(remove: () => void): void }): string {
  const directory = mkdtempSync(join(tmpdir(), 'slk-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

function watch(child: ChildProcess, stdin: string | undefined): Cli {
  let stdout = '';
  let stderr = '';
  const looking = new Set<() => void>();
  const grown = () => {
    for (const look of looking) look();
  };
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
    grown();
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
    grown();
  });
  child.stdin?.on('error', () => {});
  child.stdin?.end(stdin);
  const ended = once(child, 'close').then(([code, signal]) => ({ code, signal, stdout, stderr }));

  return {
    child,
    ended,
    stdout: () => stdout,
    stderr: () => stderr,
    saw(pattern) {
      const find = () => pattern.exec(stdout) ?? pattern.exec(stderr);
      return new Promise((resolve, reject) => {
        const look = () => {
          const found = find();
          if (found === null) return;
          looking.delete(look);
          resolve(found);
        };
        looking.add(look);
        look();
        const before = (what: string) => {
          if (looking.delete(look)) reject(new Error(`${what} before ${pattern}:\n${stdout}\n${stderr}`));
        };
        AbortSignal.timeout(120_000).addEventListener('abort', () => before('two minutes passed'));
        ended.then(({ code }) => before(`ended with ${code}`), reject);
      });
    },
  };
}
