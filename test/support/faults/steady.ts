import { once } from 'node:events';
import { Agent, type IncomingMessage, request } from 'node:http';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { WebSocket } from 'ws';

interface SteadyPorts {
  /** Leads to an app that answers a GET with `0`, and echoes the messages of WebSockets. */
  readonly http: number;
  /** Leads to an app that sends back what it gets. */
  readonly tcp: number;
}

const KEPT_PER_SECOND = 200;
const FRESH_PER_SECOND = 20;
/** 1 MiB/s. */
const PIECE = 16_384;
const PIECES_PER_SECOND = 64;

/** The client by whom "zero loss" is defined, from its start until `stop`. */
export interface Steady {
  /** What was lost so far: errors, resets, wrong answers. */
  readonly lost: readonly string[];
  /** From now on latencies count for this phase. */
  phase(name: string): void;
  /** Runs for so long, ms, in a phase of its own: what is normal for this machine at this moment. */
  baseline(ms?: number): Promise<void>;
  stop(): Promise<SteadyResult>;
}

interface SteadyResult {
  readonly lost: readonly string[];
  /** Requests and p99 of each phase, and their ratio to the baseline. */
  readonly report: string;
  readonly requests: number;
}

/** 200 requests/s on kept connections, 20 on new ones, one WebSocket, and 1 MiB/s there and back on one TCP stream. */
export async function startSteady({ http, tcp }: SteadyPorts): Promise<Steady> {
  const lost: string[] = [];
  const phases = new Map<string, number[]>();
  let current: number[] = [];
  let stopped = false;
  let ended: Promise<SteadyResult> | undefined;
  let requests = 0;
  let messages = 0;
  let echoed = 0;
  const phase = (name: string) => {
    current = phases.get(name) ?? [];
    phases.set(name, current);
  };
  phase('start');
  const fail = (who: string) => (error: unknown) => {
    if (!stopped) lost.push(`${who}: ${error}`);
  };

  const kept = new Agent({ keepAlive: true, maxSockets: 64, scheduling: 'fifo' });
  const pending = new Set<Promise<void>>();
  const get = async (agent: Agent | false) => {
    const into = current;
    const began = performance.now();
    const sent = request({ port: http, host: '127.0.0.1', agent }).end();
    const [response]: [IncomingMessage] = (await once(sent, 'response')) as [IncomingMessage];
    let body = '';
    for await (const chunk of response) body += chunk;
    if (response.statusCode !== 200 || body !== '0') throw new Error(`${response.statusCode} ${body}`);
    requests++;
    into.push(performance.now() - began);
  };
  const begin = (who: string, agent: Agent | false) => {
    const one = get(agent)
      .catch(fail(who))
      .finally(() => pending.delete(one));
    pending.add(one);
  };
  const each = (perSecond: number, work: () => void) => paced(perSecond, () => stopped, work);
  const loads = [
    each(KEPT_PER_SECOND, () => begin('kept connection', kept)),
    each(FRESH_PER_SECOND, () => begin('new connection', false)),
  ];

  const socket = new WebSocket(`ws://127.0.0.1:${http}/`);
  socket.on('error', fail('WebSocket'));
  await once(socket, 'open');
  const closed = new AbortController();
  socket.once('close', () => closed.abort(new Error('closed')));
  const talk = (async () => {
    for (let i = 0; !stopped; i++) {
      socket.send(`message ${i}`);
      const [answer] = await once(socket, 'message', { signal: closed.signal });
      if (String(answer) !== `message ${i}`) fail('WebSocket')(`${answer} instead of ${i}`);
      messages++;
      await delay(20);
    }
  })().catch(fail('WebSocket'));

  const stream = connect({ port: tcp, host: '127.0.0.1' });
  stream.on('error', fail('TCP'));
  await once(stream, 'connect');
  stream.once('close', () => fail('TCP')('closed'));
  stream.on('data', (chunk: Buffer) => {
    // Byte n of the stream is the number of its piece.
    for (let at = 0; at < chunk.length; ) {
      const expected = Math.floor(echoed / PIECE) & 0xff;
      const length = Math.min(chunk.length - at, PIECE - (echoed % PIECE));
      if (chunk[at] !== expected || chunk[at + length - 1] !== expected) fail('TCP')(`byte ${echoed} differs`);
      at += length;
      echoed += length;
    }
  });
  let piece = 0;
  // What is not taken is not piled up: the rate is that of the slower.
  const flow = each(PIECES_PER_SECOND, () => {
    if (stream.writableLength < 4 * PIECE) stream.write(Buffer.alloc(PIECE, piece++));
  });

  return {
    lost,
    phase,
    async baseline(ms = 1_500) {
      await delay(300);
      phase('baseline');
      await delay(ms);
      phase('fault');
    },
    stop: () => {
      ended ??= stop();
      return ended;
    },
  };

  async function stop(): Promise<SteadyResult> {
    const sent = piece * PIECE;
    stopped = true;
    await Promise.all([...loads, flow, ...pending]);
    stopped = false;
    const deadline = AbortSignal.timeout(10_000);
    while (echoed < sent && !stream.destroyed && !deadline.aborted) await delay(10);
    if (echoed < sent) fail('TCP')(`${sent - echoed} bytes of ${sent} are missing`);
    if (messages === 0) fail('WebSocket')('no message came back');
    stopped = true;
    socket.terminate();
    await talk;
    stream.destroy();
    kept.destroy();
    const normal = p99(phases.get('baseline') ?? []);
    const shown = [...phases].flatMap(([name, all]) =>
      name === 'start' || all.length === 0
        ? []
        : [`${name}: ${all.length} requests, p99 ${p99(all).toFixed(1)} ms (x${(p99(all) / normal).toFixed(1)})`],
    );
    shown.push(`${messages} messages, ${(echoed / (1 << 20)).toFixed(1)} MiB echoed`);
    return { lost: [...lost], report: shown.join('; '), requests };
  }
}

/** Calls `work` so often that the mean is `perSecond`, and does not make up for more than a tenth of a second. */
async function paced(perSecond: number, stopped: () => boolean, work: () => void): Promise<void> {
  let due = performance.now();
  while (!stopped()) {
    const now = performance.now();
    due = Math.max(due, now - 100);
    for (; due <= now; due += 1_000 / perSecond) work();
    await delay(2);
  }
}

function p99(all: readonly number[]): number {
  const sorted = [...all].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length * 0.99)] ?? Number.NaN;
}
