import { connect, type Socket } from 'node:net';
import { nodeCode } from '../base/errors.ts';
import { formatAddress } from '../base/listen.ts';
import type { HostPort, UnixPath } from './options.ts';

/** Why a connect failed; metric label and log field. */
export type DialReason = 'refused' | 'dns' | 'unreachable' | 'timeout' | 'error';

export interface DialFailure {
  readonly reason: DialReason;
  /** The system's code, as ECONNREFUSED. */
  readonly system: string;
}

type Target = HostPort | UnixPath;

/**
 * Connects within `timeoutMs`; calls `done` once, unless the socket is destroyed by the caller meanwhile. The socket
 * keeps half-closes, sends at once, and has an 'error' listener.
 */
export function dial(target: Target, timeoutMs: number, done: (failure: DialFailure | undefined) => void): Socket {
  const where = 'path' in target ? { path: target.path } : { host: target.host, port: target.port };
  const socket = connect({ ...where, allowHalfOpen: true, noDelay: true });
  const settle = (failure: DialFailure | undefined) => {
    clearTimeout(timer);
    socket.off('connect', connected);
    socket.off('error', failed);
    done(failure);
  };
  const connected = () => settle(undefined);
  const failed = (error: Error) => settle(failureOf(error));
  const timer = setTimeout(() => {
    settle({ reason: 'timeout', system: 'timeout' });
    socket.destroy();
  }, timeoutMs);
  socket.on('error', ignore);
  socket.once('connect', connected);
  socket.once('error', failed);
  socket.once('close', () => clearTimeout(timer));
  return socket;
}

/** Keeps nothing of who dialled: the socket has it for as long as it lives. */
function ignore(): void {}

export function targetName(target: Target): string {
  return 'path' in target ? target.path : formatAddress(target);
}

const origins = new WeakMap<Socket, string>();

/** From now on the other side of this socket is the one at `address`: a front that we trust says so. */
export function speaksFor(socket: Socket, address: string): void {
  origins.set(socket, address);
}

/** `host:port` of ours that an open socket was accepted on. */
export function localName({ localAddress, localPort }: Socket): string {
  return localAddress === undefined ? 'unknown' : formatAddress({ host: localAddress, port: localPort ?? 0 });
}

/** `host:port` of the other side of an open socket. */
export function remoteName(socket: Socket): string {
  const origin = origins.get(socket);
  if (origin !== undefined) return origin;
  const { remoteAddress, remotePort } = socket;
  return remoteAddress === undefined ? 'unknown' : formatAddress({ host: remoteAddress, port: remotePort ?? 0 });
}

const REASONS: Readonly<Record<string, DialReason>> = {
  ECONNREFUSED: 'refused',
  ENOENT: 'refused',
  ENOTFOUND: 'dns',
  EAI_AGAIN: 'dns',
  EHOSTUNREACH: 'unreachable',
  ENETUNREACH: 'unreachable',
  ETIMEDOUT: 'timeout',
};

/** The reason of a system's code, as ECONNREFUSED; undefined for what is no failure to connect. */
export function dialReason(system: string): DialReason | undefined {
  return REASONS[system];
}

function failureOf(error: Error): DialFailure {
  const system = nodeCode(error) ?? 'error';
  return { reason: dialReason(system) ?? 'error', system };
}
