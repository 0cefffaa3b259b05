import { chmod, lstat, unlink } from 'node:fs/promises';
import { type AddressInfo, connect, type Server } from 'node:net';
import { nodeCode, SidelockError } from './errors.ts';

/** Kernel limit of a socket path (sun_path of 108 bytes with its NUL); Node cuts longer ones without a word. */
const MAX_PATH = 107;

interface SocketOptions {
  /** Permission bits. Between bind and chmod they are what the umask leaves: keep others out by the directory. */
  readonly mode: number;
  /** Names the listener in errors. */
  readonly what: string;
}

/**
 * Binds `server` to a unix socket, taking away what a process that is gone left there, and nothing else. Resolves with an
 * address of family `unix` and port 0. Closing the server removes the socket.
 * @throws SL-NET-001 when somebody answers there, SL-NET-002 otherwise
 */
export async function listenOnPath(server: Server, path: string, { mode, what }: SocketOptions): Promise<AddressInfo> {
  const cannot = (why: string, cause?: unknown) =>
    new SidelockError('SL-NET-002', `cannot listen on the socket ${path} for ${what}`, {
      why,
      cause,
      data: { what, path },
    });
  const length = Buffer.byteLength(path);
  if (length > MAX_PATH) throw cannot(`the path has ${length} bytes, a socket's may have ${MAX_PATH}`);
  if (!(await isFree(path))) {
    const found = await lstat(path);
    if (!found.isSocket()) throw cannot('there is a file which is no socket');
    if (await isAnswered(path)) {
      throw new SidelockError('SL-NET-001', `the socket ${path} for ${what} is in use`, {
        why: 'another process listens there',
        data: { what, path },
      });
    }
    await unlink(path);
  }
  await new Promise<void>((resolve, reject) => {
    const failed = (cause: Error) => reject(cannot(`the system says ${nodeCode(cause)}`, cause));
    server.once('error', failed);
    server.listen({ path, exclusive: true }, () => {
      server.off('error', failed);
      resolve();
    });
  });
  await chmod(path, mode);
  return { address: path, family: 'unix', port: 0 };
}

async function isFree(path: string): Promise<boolean> {
  return await lstat(path).then(
    () => false,
    (error: unknown) => nodeCode(error) === 'ENOENT',
  );
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    const settle = (answered: boolean) => {
      socket.destroy();
      resolve(answered);
    };
    socket.once('connect', () => settle(true));
    // Refused: nobody holds it. Anything else, as a full backlog, is somebody.
    socket.once('error', (error) => settle(nodeCode(error) !== 'ECONNREFUSED'));
  });
}
