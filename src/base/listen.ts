import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import type { AddressInfo, Server } from 'node:net';
import { isIPv6 } from 'node:net';
import { nodeCode, SidelockError } from './errors.ts';

interface ListenAddress {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
}

interface ListenOptions {
  /** Other listeners of this user with the same flag share the port, and the system deals connections out. */
  readonly reusePort?: boolean;
}

/**
 * Binds `server` and resolves with the address it got.
 * `what` names the listener in errors, as in "cannot listen for inbound api".
 * @throws SL-NET-001 when the port is taken (names the process that holds it, where /proc tells), SL-NET-003 when the
 * system cannot share ports, SL-NET-002 otherwise.
 */
export function listen(
  server: Server,
  { host, port }: ListenAddress,
  what: string,
  { reusePort = false }: ListenOptions = {},
): Promise<AddressInfo> {
  return new Promise((resolve, reject) => {
    const failed = (error: Error) => reject(listenError(error, { host, port }, what));
    server.once('error', failed);
    server.listen({ host, port, exclusive: true, reusePort }, () => {
      server.off('error', failed);
      const address = server.address();
      if (address !== null && typeof address === 'object') resolve(address);
      else reject(new TypeError('a TCP listener has an address object'));
    });
  });
}

/** `host:port`, with brackets around an IPv6 host. */
export function formatAddress({ host, port }: ListenAddress): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`;
}

/** The host of `host:port`, with its brackets. */
export function hostOf(address: string): string {
  return address.replace(/:\d+$/, '');
}

function listenError(error: Error, address: ListenAddress, what: string): SidelockError {
  const code = nodeCode(error);
  const where = formatAddress(address);
  const data = { what, ...address, system: code };
  if (code === 'EADDRINUSE') {
    const holder = portHolder(address.port);
    const who = holder === undefined ? 'another process' : `${holder.name} (pid ${holder.pid})`;
    return new SidelockError('SL-NET-001', `${where} for ${what} is in use`, {
      why: `${who} listens there`,
      fix: `stop ${holder === undefined ? 'it' : `pid ${holder.pid}`}, or give ${what} another port`,
      cause: error,
      data: { ...data, holder },
    });
  }
  if (code === 'ENOTSUP') {
    return new SidelockError('SL-NET-003', `this system cannot share ${where} for ${what} among workers`, {
      why: `${process.platform} has no SO_REUSEPORT that deals out connections (ENOTSUP)`,
      cause: error,
      data,
    });
  }
  const why = SYSTEM_REASONS[code ?? ''] ?? `the system says ${code ?? error.message}`;
  return new SidelockError('SL-NET-002', `cannot listen on ${where} for ${what}`, { why, cause: error, data });
}

const SYSTEM_REASONS: Readonly<Record<string, string>> = {
  EADDRNOTAVAIL: 'no interface of this machine has that address (EADDRNOTAVAIL)',
  EACCES: 'ports below 1024 need a privilege that this process lacks (EACCES)',
  ENOTFOUND: 'that host name does not resolve (ENOTFOUND)',
  EAFNOSUPPORT: 'this machine has no such address family; IPv6 may be off (EAFNOSUPPORT)',
  EMFILE: 'this process has no file descriptor left (EMFILE)',
};

interface Holder {
  readonly pid: number;
  readonly name: string;
}

/** Who listens on a TCP port of this machine: Linux only, and only processes this user may look into. */
function portHolder(port: number): Holder | undefined {
  try {
    const inodes = new Set(['tcp', 'tcp6'].flatMap((table) => listeningInodes(table, port)));
    if (inodes.size === 0) return undefined;
    const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
    const pid = pids.find((candidate) => holdsSocket(candidate, inodes));
    if (pid === undefined) return undefined;
    return { pid: Number(pid), name: readFileSync(`/proc/${pid}/comm`, 'utf8').trim() };
  } catch {
    return undefined;
  }
}

/** Socket inodes in state LISTEN (0A) on `port`, from /proc/net/{tcp,tcp6} (proc_net_tcp in the kernel's docs). */
function listeningInodes(table: string, port: number): string[] {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  let text: string;
  try {
    text = readFileSync(`/proc/net/${table}`, 'utf8');
  } catch {
    return [];
  }
  return text.split('\n').flatMap((line) => {
    const [, local, , state, , , , , , inode] = line.trim().split(/\s+/);
    return state === '0A' && local?.endsWith(suffix) && inode !== undefined ? [`socket:[${inode}]`] : [];
  });
}

function holdsSocket(pid: string, inodes: ReadonlySet<string>): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => inodes.has(linkTarget(`/proc/${pid}/fd/${fd}`)));
  } catch {
    return false;
  }
}

function linkTarget(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
