import { createPublicKey } from 'node:crypto';
import { join } from 'node:path';
import { systemClock } from '../src/base/clock.ts';
import { createLogger } from '../src/base/log.ts';
import { createMetrics } from '../src/base/metrics.ts';
import type { Signer } from '../src/pki/issue.ts';
import { generateKey, type KeyType, privateKeyToPem } from '../src/pki/keys.ts';
import { readIdentity } from '../src/pki/material.ts';
import { dataPlaneMetrics } from '../src/sidecar/metrics.ts';
import { createTlsContexts } from '../src/sidecar/tls.ts';
import { openFileStore } from '../src/store/file-store.ts';
import { createRootSigner, issueFor, pemOf } from './material.ts';
import { table } from './report.ts';
import { percentile } from './statistics.ts';

export interface Figure {
  readonly name: string;
  readonly operations: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
  /** What the guide asks of the 95th percentile. */
  readonly targetMs: number;
  /** What the design asks of it. */
  readonly budgetMs: number;
  readonly met: boolean;
}

interface FigureOptions {
  readonly directory: string;
  readonly quick: boolean;
  readonly progress: (text: string) => void;
}

interface Timed {
  readonly name: string;
  readonly operations: number;
  readonly targetMs: number;
  readonly budgetMs: number;
  readonly operation: () => unknown;
}

const SERVICE = 'orders';
const log = createLogger({ level: 'silent' });

/** The four figures of the guide, generation for both kinds of keys, one operation after the other. */
export async function measureFigures({ directory, quick, progress }: FigureOptions): Promise<Figure[]> {
  const root = await createRootSigner();
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
  const material = readIdentity(files, { now: systemClock.now() });
  const metrics = dataPlaneMetrics(createMetrics());
  const all: readonly Timed[] = [
    {
      name: 'certificate load, disk',
      operations: 500,
      targetMs: 10,
      budgetMs: 1,
      operation: async () => (await store(path)).load(SERVICE),
    },
    {
      name: 'certificate load, memory',
      operations: 500,
      targetMs: 10,
      budgetMs: 1,
      operation: () => warm.load(SERVICE),
    },
    {
      name: 'SSL context creation',
      operations: 500,
      targetMs: 50,
      budgetMs: 2,
      operation: () => createTlsContexts(metrics, 'TLSv1.3').of(material, 'server'),
    },
    {
      name: 'validation',
      operations: 500,
      targetMs: 100,
      budgetMs: 5,
      operation: () => readIdentity(files, { now: systemClock.now() }),
    },
    {
      name: 'generation, RSA 2048',
      operations: 50,
      targetMs: 2_000,
      budgetMs: 300,
      operation: () => generate(root, 'rsa-2048'),
    },
    {
      name: 'generation, EC P-256',
      operations: 100,
      targetMs: 2_000,
      budgetMs: 10,
      operation: () => generate(root, 'ecdsa-p256'),
    },
  ];
  const figures = [];
  for (const timed of all) {
    progress(`figures: ${timed.name}`);
    figures.push(await time({ ...timed, operations: quick ? Math.ceil(timed.operations / 5) : timed.operations }));
  }
  return figures;
}

export function renderFigures(figures: readonly Figure[]): string {
  const ms = (value: number) => value.toFixed(2);
  const rows = figures.map((f) => [
    f.name,
    ms(f.p50Ms),
    ms(f.p95Ms),
    ms(f.p99Ms),
    `${f.targetMs}`,
    f.met ? 'pass' : 'FAIL',
    `${f.budgetMs}`,
    f.p95Ms < f.budgetMs ? 'ok' : 'MISS',
  ]);
  const header = ['milliseconds', 'p50', 'p95', 'p99', 'target p95 <', '', 'budget p95 <', ''];
  return `\nThe figures of the guide\n${table([header, ...rows])}`;
}

async function time({ name, operations, targetMs, budgetMs, operation }: Timed): Promise<Figure> {
  // The compiler settles before the clock starts.
  for (let i = 0; i < Math.ceil(operations / 5); i++) await operation();
  const samples: number[] = [];
  for (let i = 0; i < operations; i++) {
    const start = performance.now();
    await operation();
    samples.push(performance.now() - start);
  }
  const p95Ms = percentile(samples, 95);
  return {
    name,
    operations,
    p50Ms: percentile(samples, 50),
    p95Ms,
    p99Ms: percentile(samples, 99),
    targetMs,
    budgetMs,
    met: p95Ms < targetMs,
  };
}

/** A store with nothing in its memory yet. */
function store(path: string) {
  return openFileStore({ path, clock: systemClock, log, repairModes: true });
}

async function generate(root: Signer, type: KeyType): Promise<void> {
  const key = await generateKey(type);
  await issueFor(root, SERVICE, createPublicKey(key));
}
