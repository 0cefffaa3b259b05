import { SidelockError } from '../base/errors.ts';

const LOOPBACK_ADDRESS = /^(?:127(?:\.\d{1,3}){3}|::1)$/;

/** The address to bind, of what only this machine may reach. `key` is that of the config. @throws SL-CFG-003 */
export function loopback(host: string, key: string, why: string): string {
  // Not resolved: what the name leads to is not ours to decide.
  if (host === 'localhost') return '127.0.0.1';
  if (LOOPBACK_ADDRESS.test(host)) return host;
  throw new SidelockError('SL-CFG-003', `${key} ${host} is not a loopback address`, {
    why,
    fix: 'use 127.0.0.1 or ::1',
    data: { host },
  });
}
