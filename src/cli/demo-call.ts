import { Agent, get } from 'node:http';
import { text } from 'node:stream/consumers';
import type { Sidecar } from '../sidecar/sidecar.ts';

type Connection = ReturnType<Sidecar['connections']>[number];

interface DemoCall {
  readonly url: string;
  readonly status: number;
  readonly ms: number;
  /** What the app that was called says it saw. */
  readonly saw: unknown;
  /** The call as the sidecar of the caller has it on record, and as that of the called service has. */
  readonly outbound: Connection;
  readonly inbound: Connection;
}

/** One request through both sidecars. Their records are read while its connection is still open. */
export async function demoCall(url: string, caller: Sidecar, called: Sidecar): Promise<DemoCall> {
  const agent = new Agent({ keepAlive: true });
  try {
    const started = performance.now();
    const { status, body } = await fetchText(url, agent);
    const ms = performance.now() - started;
    const outbound = caller.connections().find(({ direction }) => direction === 'outbound');
    const inbound = called.connections().find(({ direction }) => direction === 'inbound');
    if (outbound === undefined || inbound === undefined) {
      throw new Error(`${url} answered ${status}, but no mTLS connection is on record for it`);
    }
    return { url, status, ms, saw: JSON.parse(body), outbound, inbound };
  } finally {
    agent.destroy();
  }
}

function fetchText(url: string, agent: Agent): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const request = get(url, { agent, timeout: 10_000 }, (response) => {
      text(response).then((body) => resolve({ status: response.statusCode ?? 0, body }), reject);
    });
    request.on('timeout', () => request.destroy(new Error(`${url} did not answer within 10 s`)));
    request.on('error', reject);
  });
}
