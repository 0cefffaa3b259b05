import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { connect } from 'node:net';
import { SECOND } from '../base/clock.ts';
import type { AppProbeOptions } from './options.ts';

/** Kubelet has limits of its own, which are shorter. */
const TIMEOUT_MS = 30 * SECOND;

/**
 * Asks the app what kubelet wants to know of it: an app on 127.0.0.1 is out of kubelet's reach.
 * Gives the status the app gave, 200 for a port that takes connections, 503 when there is no answer.
 */
export async function askApp({ target, headers = {} }: AppProbeOptions): Promise<number> {
  const { protocol, hostname, port } = target;
  try {
    if (protocol === 'tcp:') {
      const socket = connect({ host: hostname, port: Number(port), timeout: TIMEOUT_MS });
      try {
        await once(socket, 'connect', { signal: AbortSignal.timeout(TIMEOUT_MS) });
      } finally {
        socket.destroy();
      }
      return 200;
    }
    const status = await statusOf(target, headers);
    // Kubelet would look for where a redirection leads.
    return status >= 300 && status < 400 ? 200 : status;
  } catch {
    return 503;
  }
}

function statusOf(target: URL, headers: Readonly<Record<string, string>>): Promise<number> {
  const request = target.protocol === 'https:' ? httpsRequest : httpRequest;
  // Kubelet does not verify either: the certificate is for the peers of an app that speaks TLS itself.
  const options = { headers, agent: false, rejectUnauthorized: false, signal: AbortSignal.timeout(TIMEOUT_MS) };
  return new Promise((resolve, reject) => {
    const sent = request(target, options, (response: IncomingMessage) => {
      resolve(response.statusCode ?? 503);
      response.destroy();
    });
    sent.on('error', reject);
    sent.end();
  });
}
