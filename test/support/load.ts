import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { connect as tlsConnect } from 'node:tls';
import type { Trio } from './identity-files.ts';

/** Requests one after the other, on each of `keepAlive` kept connections and of `fresh` workers that open new ones. */
export function startLoad(port: number, { keepAlive, fresh }: { readonly keepAlive: number; readonly fresh: number }) {
  const kept = new Agent({ keepAlive: true, maxSockets: keepAlive });
  const opened = new Agent({ keepAlive: false });
  const failures: string[] = [];
  let requests = 0;
  let stopped = false;
  const call = (agent: Agent) =>
    new Promise<void>((resolve) => {
      const failed = (error: Error) => {
        failures.push(error.message);
        resolve();
      };
      const sent = request({ port, host: '127.0.0.1', agent }, (response) => {
        if (response.statusCode !== 200) failures.push(`status ${response.statusCode}`);
        response.once('error', failed).resume();
        response.once('end', () => {
          requests++;
          resolve();
        });
      });
      sent.once('error', failed).end();
    });
  const workers = Array.from({ length: keepAlive + fresh }, async (_, i) => {
    while (!stopped) await call(i < keepAlive ? kept : opened);
  });
  return {
    answered: () => requests,
    async stop() {
      stopped = true;
      await Promise.all(workers);
      kept.destroy();
      opened.destroy();
      return { requests, failures };
    },
  };
}

/** The serial that the mTLS port shows to a new connection of `caller`. */
export async function servedSerial(port: number, { cert, key }: Trio): Promise<string> {
  const socket = tlsConnect({ host: '127.0.0.1', port, cert, key, rejectUnauthorized: false });
  await once(socket, 'secureConnect');
  const serial = socket.getPeerX509Certificate()?.serialNumber.toLowerCase() ?? '';
  socket.destroy();
  return serial;
}
