import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/**
 * Holds connections: arguments are the port and their number. Prints `open` when a byte went there and back on each;
 * for each line on standard input it sends one more on each and prints how many were answered.
 */
const [port = '', count = ''] = process.argv.slice(2);
const sockets: Socket[] = [];
const BATCH = 50;

async function ping(socket: Socket): Promise<boolean> {
  try {
    socket.write('x');
    await once(socket, 'data', { signal: AbortSignal.timeout(30_000) });
    return true;
  } catch {
    return false;
  }
}

while (sockets.length < Number(count)) {
  const batch = Array.from({ length: BATCH }, () => {
    const socket = connect({ port: Number(port), host: '127.0.0.1' });
    socket.on('error', () => {});
    return socket;
  });
  const answers = await Promise.all(batch.map(ping));
  if (answers.includes(false)) throw new Error(`${sockets.length} were opened, then no more`);
  sockets.push(...batch);
}
process.stdout.write('open\n');
process.stdin.on('data', async () => {
  let usable = 0;
  for (let i = 0; i < sockets.length; i += BATCH) {
    const answers = await Promise.all(sockets.slice(i, i + BATCH).map(ping));
    usable += answers.filter((one) => one).length;
  }
  process.stdout.write(`usable ${usable}\n`);
});
