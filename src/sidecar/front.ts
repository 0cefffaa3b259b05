import { BlockList, isIPv4, isIPv6, type Socket } from 'node:net';
import { remoteName } from './dial.ts';
import { parseProxyHeader } from './proxy-header.ts';

/** Decides by address who may say for whom it speaks. */
export function trustedFronts(networks: readonly string[]): (address: string | undefined) => boolean {
  const list = new BlockList();
  for (const network of networks) {
    const [host = '', bits] = network.split('/');
    const family = isIPv4(host) ? 'ipv4' : 'ipv6';
    if (bits === undefined) list.addAddress(host, family);
    else list.addSubnet(host, Number(bits), family);
  }
  return (address = '') => {
    const plain = address.replace(/^::ffff:(?=\d+\.)/i, '').replace(/%.*$/, '');
    return isIPv4(plain) ? list.check(plain) : isIPv6(plain) && list.check(plain, 'ipv6');
  };
}

/**
 * Takes the header off a socket that was just accepted, and leaves what comes after it there. Calls `done` once: with the
 * caller's address, or with undefined when there was no header within `timeoutMs`; then the socket is of no use.
 */
export function takeProxyHeader(socket: Socket, timeoutMs: number, done: (source: string | undefined) => void): void {
  let kept: Buffer = Buffer.alloc(0);
  const settle = (source: string | undefined) => {
    clearTimeout(timer);
    socket.off('readable', look);
    socket.off('end', left);
    socket.off('close', left);
    done(source);
  };
  const look = () => {
    for (let chunk: Buffer | null = socket.read(); chunk !== null; chunk = socket.read()) {
      kept = Buffer.concat([kept, chunk]);
    }
    const parsed = parseProxyHeader(kept);
    if (parsed === 'more') return;
    if (parsed === 'none') return settle(undefined);
    if (kept.length > parsed.length) socket.unshift(kept.subarray(parsed.length));
    settle(parsed.source ?? remoteName(socket));
  };
  const left = () => settle(undefined);
  const timer = setTimeout(left, timeoutMs);
  socket.on('readable', look);
  socket.once('end', left);
  socket.once('close', left);
}
