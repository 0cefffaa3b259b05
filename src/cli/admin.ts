import { get } from 'node:http';
import { text } from 'node:stream/consumers';
import type { Command } from 'commander';
import { nodeCode, SidelockError } from '../base/errors.ts';

/**
 * The JSON that the admin endpoints of a sidecar on this machine answer.
 * @throws SL-ADMIN-001
 */
export async function askAdmin(address: string, path: string): Promise<unknown> {
  const { status, body } = await fetchAdmin(address, path);
  if (status !== 200) {
    const what = `http://${address}${path} answered ${status}`;
    throw new SidelockError('SL-ADMIN-001', what, { why: 'it may be another program' });
  }
  try {
    return JSON.parse(body);
  } catch (cause) {
    const why = 'its answer is no JSON';
    throw new SidelockError('SL-ADMIN-001', `no sidecar answers on ${address}`, { why, cause });
  }
}

/** Whatever is answered there, as text. @throws SL-ADMIN-001 when nothing is */
export async function fetchAdmin(
  address: string,
  path: string,
): Promise<{ readonly status: number; readonly body: string }> {
  try {
    return await fetchText(`http://${address}${path}`);
  } catch (cause) {
    throw new SidelockError('SL-ADMIN-001', `no sidecar answers on ${address}`, { why: nodeCode(cause), cause });
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
