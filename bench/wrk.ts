import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

export interface Load {
  readonly port: number;
  readonly path: string;
  readonly connections: number;
  readonly seconds: number;
  /** A new connection for each request. */
  readonly close: boolean;
}

export interface LoadResult {
  readonly requests: number;
  readonly bytes: number;
  readonly seconds: number;
  readonly p50Us: number;
  readonly p99Us: number;
  /** Connect, read, write and time-out errors and answers that are not 2xx or 3xx. */
  readonly errors: number;
}

/** wrk's own report rounds; its script sees the whole figures. */
const REPORT = `done = function(summary, latency)
  local e = summary.errors
  io.write(string.format('RESULT {"requests":%d,"bytes":%d,"seconds":%.6f,"p50Us":%d,"p99Us":%d,"errors":%d}\\n',
    summary.requests, summary.bytes, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
`;

/** Writes the script that makes wrk report in JSON; \`wrk\` needs its path. */
export async function writeReportScript(directory: string): Promise<string> {
  const path = join(directory, 'report.lua');
  await writeFile(path, REPORT);
  return path;
}

/** One bounded load on a loopback port: one thread, closed loop. */
export async function wrk(program: string, script: string, load: Load): Promise<LoadResult> {
  const { stdout } = await promisify(execFile)(program, [
    '--threads=1',
    `--connections=${load.connections}`,
    `--duration=${load.seconds}s`,
    '--timeout=10s',
    `--script=${script}`,
    ...(load.close ? ['--header=Connection: close'] : []),
    `http://127.0.0.1:${load.port}${load.path}`,
  ]);
  const line = /^RESULT (\{.*\})$/m.exec(stdout)?.[1];
  if (line === undefined) throw new Error(`wrk reported nothing:\n${stdout}`);
  return JSON.parse(line);
}
