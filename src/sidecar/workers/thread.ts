import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { systemClock, systemRandom } from '../../base/clock.ts';
import { isSidelockError } from '../../base/errors.ts';
import { createLogger } from '../../base/log.ts';
import { createMetrics } from '../../base/metrics.ts';
import { readCrlSet } from '../../pki/crl-set.ts';
import { readIdentity } from '../../pki/material.ts';
import { createIdentityHolder } from '../identity.ts';
import { dataPlaneMetrics } from '../metrics.ts';
import { createNoticesOut } from '../notices-out.ts';
import { createRevocationHolder } from '../revocation.ts';
import { openServing, type Serving } from '../serving.ts';
import { createTickets } from '../tickets.ts';
import { createTlsContexts } from '../tls.ts';
import type { Ask, FromWorker, Questions, ThreadData, ToWorker } from './messages.ts';

/** The first module of a worker thread: serves as one thread alone would, and does what the main thread says. */
if (parentPort !== null) await run(parentPort, workerData as ThreadData);

async function run(port: MessagePort, { options, sharing, logLevel }: ThreadData): Promise<void> {
  const post = (message: FromWorker) => port.postMessage(message);
  const log = createLogger({ level: logLevel, stream: { write: (line) => post({ is: 'log', line }) } });
  const registry = createMetrics();
  const metrics = dataPlaneMetrics(registry);
  const tickets = createTickets(systemClock);
  const contexts = createTlsContexts(metrics, options.minVersion ?? 'TLSv1.3', tickets);
  const identity = createIdentityHolder({ log, prepare: contexts.prepare });
  const revocation = createRevocationHolder();
  const notices = createNoticesOut({ clock: systemClock, random: systemRandom, log });
  const deadline = new AbortController();
  const stopping = new AbortController();
  const { onScrape } = registry;
  let serving: Serving;
  try {
    serving = await openServing(options, {
      ...{ identity, revocation, notices, contexts, metrics, onScrape, sharing, log },
      clock: systemClock,
      random: systemRandom,
    });
  } catch (error) {
    if (!isSidelockError(error)) throw error;
    const { code, message, why, fix, data } = error;
    post({ is: 'failed', failure: { code, message, why, fix, data } });
    return;
  }

  const answers: { readonly [K in keyof Questions]: (given: Questions[K][0]) => Answer<K> | Promise<Answer<K>> } = {
    connections: () => serving.look('connections'),
    policy: () => serving.look('policy'),
    plaintext: () => serving.look('plaintext'),
    endpoints: () => serving.look('endpoints'),
    roots: () => serving.look('roots'),
    peers: () => serving.look('peers'),
    metrics: () => registry.snapshot(),
    rules: (rules) => serving.setRules(rules),
    drain: (direction) => serving.drain(direction, deadline.signal),
  };
  const reply = async <K extends keyof Questions>({ id, what, given }: Ask<K>) =>
    post({ is: 'answer', id, answer: await answers[what](given) });
  const stop = async () => {
    stopping.abort();
    await serving[Symbol.asyncDispose]();
    port.close();
  };

  // What is thrown here, and what is rejected, ends the thread: the main thread starts another.
  port.on('message', (message: ToWorker) => {
    switch (message.is) {
      case 'identity': {
        const { cert, key, ca, generation, at } = message;
        identity.offer(readIdentity({ cert, key, ca }, { now: at }), generation);
        post({ is: 'taken' });
        break;
      }
      case 'crl':
        revocation.repeat(readCrlSet(message.pem, 'of the main thread'));
        break;
      case 'tickets':
        tickets.repeat(message);
        break;
      case 'serve':
        serving.serve();
        break;
      case 'ask':
        void reply(message);
        break;
      case 'leave':
        serving.leave();
        break;
      case 'deadline':
        deadline.abort();
        break;
      case 'stop':
        void stop();
        break;
    }
  });
  // What is the same, or too much, is dropped here: the main thread gets few of them, whoever calls.
  void notices.deliver(async (reports) => post({ is: 'refused', reports }), stopping.signal);
  post({ is: 'bound', inbound: serving.inbound, outbound: serving.outbound, proxy: serving.proxy });
}

type Answer<K extends keyof Questions> = Questions[K][1];
