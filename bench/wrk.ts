import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { programPath } from './programs.ts';

interface LoadOptions {
  readonly port: number;
  readonly path: string;
  readonly connections: number;
  readonly seconds: number;
  /** A new connection for each request. */
  readonly close: boolean;
}

interface LoadResult {
  readonly requests: number;
  readonly p50Us: number;
  readonly p95Us: number;
  readonly p99Us: number;
  /** Connect, read, write and time-out errors and answers that are not 2xx or 3xx. */
  readonly errors: number;
}

/** One bounded load on a loopback port: one thread, closed loop. */
export type Load = (options: LoadOptions) => Promise<LoadResult>;

/** wrk's own report rounds; its script sees the whole figures. */
const REPORT = `done = function(summary, latency)
  local e = summary.errors
  io.write(string.format('RESULT {"requests":%d,"p50Us":%d,"p95Us":%d,"p99Us":%d,"errors":%d}\\n',
    summary.requests, latency:percentile(50), latency:percentile(95), latency:percentile(99), e.connect + e.read + e.write + e.status + e.timeout))
end
`;

/** `directory` keeps the script that makes wrk report in JSON. */
export async function createLoad(directory: string): Promise<Load> {
  const program = programPath('wrk');
  const script = join(directory, 'report.lua');
  await writeFile(script, REPORT);
  return async ({ port, path, connections, seconds, close }) => {
    const { stdout } = await promisify(execFile)(program, [
      '--threads=1',
      `--connections=${connections}`,
      `--duration=${seconds}s`,
      '--timeout=10s',
      `--script=${script}`,
      ...(close ? ['--header=Connection: close'] : []),
      `http://127.0.0.1:${port}${path}`,
    ]);
    const line = /^RESULT (\{.*\})$/m.exec(stdout)?.[1];
    if (line === undefined) throw new Error(`wrk reported nothing:\n${stdout}`);
    return JSON.parse(line);
  };
}
