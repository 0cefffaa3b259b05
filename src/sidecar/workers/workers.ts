import { SECOND } from '../../base/clock.ts';
import { SidelockError } from '../../base/errors.ts';
import type { Readiness } from '../../base/lifecycle.ts';
import type { IdentityReader } from '../identity.ts';
import type { NoticesOut } from '../notices-out.ts';
import type { InboundOptions, SidecarDependencies } from '../options.ts';
import { checkRules } from '../policy.ts';
import type { RevocationHolder } from '../revocation.ts';
import type { Serving, ServingOptions, View } from '../serving.ts';
import type { Tickets } from '../tickets.ts';
import { startCrew } from './crew.ts';
import { divided } from './divided.ts';
import type { Questions, ToWorker } from './messages.ts';
import { uniteCounts, unitePlaintext, unitePolicies } from './union.ts';

/** A worker that does not answer in this time is stuck: the others answer without it. */
const ANSWER_MS = 2 * SECOND;
/** And after a deadline, in this one. */
const LAST_ANSWER_MS = SECOND;

/** The blocker that stands while no worker serves. */
const BLOCKER = 'workers';

interface WorkersDependencies extends SidecarDependencies {
  readonly count: number;
  /** Of the main thread, which takes up identities and revocation lists; the workers follow. */
  readonly identity: IdentityReader;
  readonly revocation: RevocationHolder;
  readonly notices: Pick<NoticesOut, 'add'>;
  readonly tickets: Tickets;
  readonly readiness: Readiness;
}

/**
 * Serves in `count` threads, which share the ports: each port is bound in all of them before one serves. Not ready
 * until all have the first identity, and while none serves.
 * @throws SL-NET-001, SL-NET-002, SL-NET-003, SL-CFG-003
 */
export async function startWorkers(options: ServingOptions, deps: WorkersDependencies): Promise<Serving> {
  const { count, identity, revocation, notices, tickets, readiness, clock, metrics } = deps;
  checkPorts(options);
  let current = divided(options, count);
  const serving = metrics.gauge('sidelock_workers', 'Threads that serve now; only with more than one.').with({});
  let judged: { readonly generation: number; readonly at: number } | undefined;
  let released = false;
  let leaving = false;
  let complete = false;

  const identityMessages = (): ToWorker[] => {
    const held = identity.current();
    if (held === undefined) return [];
    const { generation, material } = held;
    // A worker that starts later judges the dates as they were judged here.
    if (judged?.generation !== generation) judged = { generation, at: clock.now() };
    const { certPem: cert, keyPem: key, bundle } = material;
    return [{ is: 'identity', cert, key, ca: bundle.pem, ...judged }];
  };
  const crlMessages = (): ToWorker[] => {
    const pem = revocation.current()?.pem;
    return pem === undefined ? [] : [{ is: 'crl', pem }];
  };
  const changed = (ready: number) => {
    serving.value = ready;
    // Any of them gets the next connection.
    complete ||= ready === count;
    if (ready > 0 && complete) readiness.unblock(BLOCKER);
    else readiness.block(BLOCKER, ready === 0 ? 'no worker has an identity' : 'workers take up the identity');
  };

  readiness.block(BLOCKER, 'workers are being started');
  const crew = await startCrew({
    ...deps,
    options: () => current,
    greeting: () => [
      { is: 'tickets', ...tickets.current() } as const,
      ...identityMessages(),
      ...crlMessages(),
      ...(released ? [{ is: 'serve' } as const] : []),
      ...(leaving ? [{ is: 'leave' } as const] : []),
    ],
    changed,
    refused(reports) {
      for (const { role, reason, ...leaf } of reports) notices.add({ leaf, role, reason });
    },
  });
  const post = (messages: readonly ToWorker[]) => {
    for (const message of messages) crew.post(message);
  };
  const unsubscribe = identity.subscribe(() => post(identityMessages()));
  revocation.subscribe(() => post(crlMessages()));
  metrics.include(() => crew.counted(AbortSignal.timeout(ANSWER_MS)));

  const askAll = async <K extends keyof Questions>(what: K, given: Questions[K][0]) =>
    (await crew.ask(what, given, AbortSignal.timeout(ANSWER_MS))).flatMap(({ worker, answer }) =>
      answer === undefined ? [] : [{ worker, answer }],
    );
  const views: { readonly [K in keyof View]: () => Promise<View[K]> } = {
    connections: async () =>
      (await askAll('connections', undefined)).flatMap(({ worker, answer }) =>
        answer.map((connection) => ({ worker, ...connection })),
      ),
    endpoints: async () =>
      (await askAll('endpoints', undefined)).flatMap(({ worker, answer }) => answer.map((one) => ({ worker, ...one }))),
    roots: async () => uniteCounts((await askAll('roots', undefined)).map(({ answer }) => answer)),
    peers: async () => uniteCounts((await askAll('peers', undefined)).map(({ answer }) => answer)),
    policy: async () => unitePolicies((await askAll('policy', undefined)).map(({ answer }) => answer)),
    plaintext: async () => unitePlaintext((await askAll('plaintext', undefined)).map(({ answer }) => answer)),
  };
  return {
    ...crew.bound,
    serve() {
      released = true;
      crew.post({ is: 'serve' });
    },
    leave() {
      leaving = true;
      crew.post({ is: 'leave' });
    },
    look: (what) => views[what](),
    async setRules(rules) {
      const inbound = current.inbound.map((one): InboundOptions => {
        const next = rules.find(({ name }) => name === one.name);
        if (next === undefined) return one;
        checkRules({ ...next, protocol: one.protocol }, options);
        return { ...one, policy: 'enforce', ...next };
      });
      current = { ...current, inbound };
      return (await askAll('rules', rules)).reduce((sum, { answer }) => sum + answer, 0);
    },
    async drain(direction, deadline) {
      crew.dismiss();
      const late = new AbortController();
      let timer: NodeJS.Timeout | undefined;
      const over = () => {
        crew.post({ is: 'deadline' });
        timer = setTimeout(() => late.abort(), LAST_ANSWER_MS);
      };
      if (deadline.aborted) over();
      else deadline.addEventListener('abort', over, { once: true });
      const clean = await crew.ask('drain', direction, late.signal);
      deadline.removeEventListener('abort', over);
      clearTimeout(timer);
      return clean.every(({ answer }) => answer === true);
    },
    async [Symbol.asyncDispose]() {
      unsubscribe();
      await crew[Symbol.asyncDispose]();
    },
  };
}

function checkPorts({ inbound, outbound }: ServingOptions): void {
  const socket = [...inbound, ...outbound].find(({ listen }) => listen !== undefined && 'path' in listen);
  if (socket === undefined) return;
  throw new SidelockError('SL-CFG-003', `"${socket.name}" listens on a unix socket, which workers cannot share`, {
    fix: 'give it a port of 127.0.0.1, or use workers: 1',
  });
}
