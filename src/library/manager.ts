import { resolve } from 'node:path';
import { systemClock, systemRandom } from '../base/clock.ts';
import { createLogger, type Logger, type LogLevel } from '../base/log.ts';
import { createMetrics, type Metrics } from '../base/metrics.ts';
import { createManager, type Manager } from '../manager/manager.ts';
import type { ManagerOptions } from '../manager/options.ts';
import type { ServiceCertificate } from '../store/store.ts';

/** Every key has the default of the command line; nothing is read from the environment. */
export interface MtlsManagerOptions extends Pick<ManagerOptions, 'ca' | 'certificates' | 'trustDomain' | 'tokens'> {
  /** `./pki` unless given. One process at a time may hold it. */
  readonly storagePath?: string;
  /** https address that sidecars reach this manager at: it is put into join tokens. */
  readonly address?: string;
  /** Of JSON lines on standard error; `silent` unless given. */
  readonly logLevel?: LogLevel;
  /** In place of `logLevel`. */
  readonly log?: Logger;
  readonly metrics?: Metrics;
  /** Told what takes time, in words for a person: the key of the CA takes a second or two. */
  readonly onProgress?: (text: string) => void;
}

/** A manager under the names of the guide. */
export interface MtlsManager extends Omit<Manager, 'store'> {
  readonly store: Manager['store'] & {
    /** From memory while the files are unchanged. Undefined when there is none; a damaged set throws. */
    loadCertificate(service: string): Promise<ServiceCertificate | undefined>;
  };
}

const DEFAULT_STORAGE = './pki';
const opened = new Map<string, Promise<MtlsManager>>();

/**
 * The manager of a storage directory, its CA made at the first start. Every call for one directory gives the same
 * manager, opened with the options of the first, until it is disposed of.
 * @throws SidelockError SL-STORE-002 another process holds the directory, SL-CA-001, SL-CA-002, SL-FS-003.
 */
export function getMtlsManager(options: MtlsManagerOptions = {}): Promise<MtlsManager> {
  const path = resolve(options.storagePath ?? DEFAULT_STORAGE);
  const known = opened.get(path);
  if (known !== undefined) return known;
  const opening = openManager(path, options);
  opened.set(path, opening);
  opening.catch(() => opened.delete(path));
  return opening;
}

async function openManager(path: string, options: MtlsManagerOptions): Promise<MtlsManager> {
  const { logLevel = 'silent', log = createLogger({ level: logLevel }), metrics = createMetrics() } = options;
  const { address = 'https://localhost:9443', ca, certificates, trustDomain, tokens, onProgress } = options;
  const manager = await createManager({
    ...(ca && { ca }),
    ...(certificates && { certificates }),
    ...(trustDomain && { trustDomain }),
    ...(tokens && { tokens }),
    ...(onProgress && { onProgress }),
    ...{ storagePath: path, address, log, metrics, clock: systemClock, random: systemRandom },
  });
  return {
    ...manager,
    store: { ...manager.store, loadCertificate: (service) => manager.store.load(service) },
    async [Symbol.asyncDispose]() {
      await manager[Symbol.asyncDispose]();
      opened.delete(path);
    },
  };
}
