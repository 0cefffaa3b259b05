import { createPublicKey } from 'node:crypto';
import { join } from 'node:path';
import { systemClock } from '../src/base/clock.ts';
import { createLogger } from '../src/base/log.ts';
import { createMetrics } from '../src/base/metrics.ts';
import type { Signer } from '../src/pki/issue.ts';
import { generateKey, type KeyType, privateKeyToPem } from '../src/pki/keys.ts';
import { readIdentity } from '../src/pki/material.ts';
import { dataPlaneMetrics } from '../src/sidecar/metrics.ts';
import { createTickets } from '../src/sidecar/tickets.ts';
import { createTlsContexts } from '../src/sidecar/tls.ts';
import { openFileStore } from '../src/store/file-store.ts';
import { issueFor, pemOf, writeMaterial } from './material.ts';
import { readyAfterStart } from './ready.ts';
import { median, percentile, spread } from './statistics.ts';

/** Milliseconds. Percentiles are medians over the rounds, each of which has `operations`. */
export interface Figure {
  readonly name: string;
  readonly operations: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
  /** How far the rounds' 95th percentiles lie apart, as a share of their median. */
  readonly spread: number;
  /** What the guide asks of the 95th percentile; absent where it asks nothing. */
  readonly targetMs?: number;
  /** What the design asks of it. */
  readonly budgetMs: number;
}

interface FigureOptions {
  readonly directory: string;
  readonly rounds: number;
  readonly quick: boolean;
  readonly progress: (text: string) => void;
}

interface Timed extends Pick<Figure, 'name' | 'operations' | 'targetMs' | 'budgetMs'> {
  /** Does it once and tells how many milliseconds it took. */
  readonly once: () => Promise<number>;
}

const SERVICE = 'orders';
const log = createLogger({ level: 'silent' });

/**
 * The figures of the guide, generation for both kinds of keys, and how soon a sidecar is ready: one operation after the
 * other, and one figure after the other, `rounds` times around.
 */
export async function measureFigures({ directory, rounds, quick, progress }: FigureOptions): Promise<Figure[]> {
  const all = (await prepare(directory)).map((timed) => ({
    ...timed,
    operations: quick ? Math.ceil(timed.operations / 5) : timed.operations,
    samples: [] as number[][],
  }));
  // The compiler settles before anything counts.
  for (const { once, operations } of all) await repeat(once, Math.ceil(operations / 5));
  for (let round = 1; round <= rounds; round++) {
    for (const { name, once, operations, samples } of all) {
      progress(`figures: ${name}, round ${round} of ${rounds}`);
      samples.push(await repeat(once, operations));
    }
  }
  return all.map(({ once: _, samples, ...timed }) => {
    const of = (p: number) => samples.map((round) => percentile(round, p));
    return { ...timed, p50Ms: median(of(50)), p95Ms: median(of(95)), p99Ms: median(of(99)), spread: spread(of(95)) };
  });
}

async function prepare(directory: string): Promise<readonly Timed[]> {
  const material = await writeMaterial(join(directory, 'material'));
  const { root } = material;
  const key = await generateKey('rsa-2048');
  const files = {
    cert: pemOf(await issueFor(root, SERVICE, createPublicKey(key))),
    key: privateKeyToPem(key),
    ca: pemOf(root.certificate),
  };
  const path = join(directory, 'store');
  const warm = await store(path);
  await warm.save(SERVICE, {
    certificate: Buffer.from(files.cert),
    privateKey: Buffer.from(files.key),
    caCertificate: Buffer.from(files.ca),
  });
  const identity = readIdentity(files, { now: systemClock.now() });
  const metrics = dataPlaneMetrics(createMetrics());
  const tickets = createTickets(systemClock);
  return [
    {
      name: 'certificate load, disk',
      operations: 500,
      targetMs: 10,
      budgetMs: 1,
      once: timing(async () => (await store(path)).load(SERVICE)),
    },
    {
      name: 'certificate load, memory',
      operations: 500,
      targetMs: 10,
      budgetMs: 1,
      once: timing(() => warm.load(SERVICE)),
    },
    {
      name: 'SSL context creation',
      operations: 500,
      targetMs: 50,
      budgetMs: 2,
      once: timing(() => createTlsContexts(metrics, 'TLSv1.3', tickets).of(identity, 'server')),
    },
    {
      name: 'validation',
      operations: 500,
      targetMs: 100,
      budgetMs: 5,
      once: timing(() => readIdentity(files, { now: systemClock.now() })),
    },
    {
      name: 'generation, RSA 2048',
      operations: 50,
      targetMs: 2_000,
      budgetMs: 300,
      once: timing(() => generate(root, 'rsa-2048')),
    },
    {
      name: 'generation, EC P-256',
      operations: 100,
      targetMs: 2_000,
      budgetMs: 10,
      once: timing(() => generate(root, 'ecdsa-p256')),
    },
    {
      name: 'sidecar ready after start',
      operations: 15,
      budgetMs: 300,
      once: () => readyAfterStart(material, directory),
    },
  ];
}

function timing(operation: () => unknown): Timed['once'] {
  return async () => {
    const start = performance.now();
    await operation();
    return performance.now() - start;
  };
}

async function repeat(once: Timed['once'], times: number): Promise<number[]> {
  const samples: number[] = [];
  for (let i = 0; i < times; i++) samples.push(await once());
  return samples;
}

/** A store with nothing in its memory yet. */
function store(path: string) {
  return openFileStore({ path, clock: systemClock, log, repairModes: true });
}

async function generate(root: Signer, type: KeyType): Promise<void> {
  const key = await generateKey(type);
  await issueFor(root, SERVICE, createPublicKey(key));
}
