import { get } from 'node:http';
import { text } from 'node:stream/consumers';
import type { Command } from 'commander';
import { nodeCode, SidelockError } from '../base/errors.ts';

/**
 * The JSON that the admin endpoints of a sidecar on this machine answer.
 * @throws SL-ADMIN-001
 */
export async function askAdmin(address: string, path: string): Promise<unknown> {
  const url = `http://${address}${path}`;
  try {
    const { status, body } = await fetchText(url);
    if (status === 200) return JSON.parse(body);
    throw new SidelockError('SL-ADMIN-001', `${url} answered ${status}`, { why: 'it may be another program' });
  } catch (cause) {
    if (cause instanceof SidelockError) throw cause;
    const why = cause instanceof SyntaxError ? 'its answer is no JSON' : nodeCode(cause);
    throw new SidelockError('SL-ADMIN-001', `no sidecar answers on ${address}`, { why, cause });
  }
}

/** Where the sidecar of this machine answers. */
export function addAdminFlag(made: Command): Command {
  return made.optionsGroup('Which sidecar').option('--admin <HOST:PORT>', 'its admin.listen', '127.0.0.1:9901');
}

function fetchText(url: string): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const request = get(url, { timeout: 10_000, agent: false }, (response) => {
      text(response).then((body) => resolve({ status: response.statusCode ?? 0, body }), reject);
    });
    request.on('timeout', () => request.destroy(new Error('no answer within 10 s')));
    request.on('error', reject);
  });
}
