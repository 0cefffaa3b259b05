import { readFileSync } from 'node:fs';
import { SocketAddress } from 'node:net';
import { endianness } from 'node:os';
import { formatAddress } from '../base/listen.ts';

/**
 * Bytes that wait in the kernel for each TCP connection of this machine, or pod, by the `host:port` of its other side:
 * sent and not acknowledged, or arrived and not read. A reader who stops takes some MiB there before a byte waits here.
 * Costs milliseconds for thousands of connections.
 */
export function kernelQueues(): Map<string, number> {
  const queues = new Map<string, number>();
  for (const table of ['tcp', 'tcp6']) for (const line of linesOf(table)) add(line, queues);
  return queues;
}

/** A line of proc_net_tcp of the kernel's docs: number, local, remote, state, bytes to send and to read, in hexadecimal. */
const LINE = /^\s*\d+: \S+ ([0-9A-F]+):([0-9A-F]{4}) \S+ (?!00000000:00000000)([0-9A-F]{8}):([0-9A-F]{8}) /;

function add(line: string, queues: Map<string, number>): void {
  const [, host, port, toSend, toRead] = LINE.exec(line) ?? [];
  if (host === undefined || port === undefined) return;
  const bytes = Number(`0x${toSend}`) + Number(`0x${toRead}`);
  queues.set(formatAddress({ host: hostOf(host), port: Number(`0x${port}`) }), bytes);
}

function linesOf(table: string): string[] {
  try {
    return readFileSync(`/proc/net/${table}`, 'latin1').split('\n');
  } catch {
    return [];
  }
}

/** Words of 32 bits as this machine has them in memory, written as Node writes addresses. */
function hostOf(hex: string): string {
  const words = Buffer.from(hex, 'hex');
  if (endianness() === 'LE') words.swap32();
  if (hex.length === 8) return words.join('.');
  const groups = words.toString('hex').match(/.{4}/g) ?? [];
  return new SocketAddress({ address: groups.join(':'), family: 'ipv6' }).address;
}
