import { isIP } from 'node:net';
import { type Clock, type Random, SECOND } from '../../base/clock.ts';
import { nodeCode } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import { backoffDelay } from '../../base/retry.ts';
import type { DataPlaneMetrics } from '../metrics.ts';
import type { HostPort, UpstreamAddress } from '../options.ts';
import type { Resolver } from './resolver.ts';

/** One place where an upstream can be reached. `host` is an IP address. */
export interface Found extends HostPort {
  /** The name it was found by; undefined when an address was configured. */
  readonly servername: string | undefined;
  /** Those of the lowest are used while any of them can be. */
  readonly priority: number;
  readonly weight: number;
}

interface DiscoveryOptions {
  readonly addresses: readonly UpstreamAddress[];
  readonly listener: string;
  readonly resolver: Resolver;
  /** Between two questions for a name, ms; a fifth more or less. */
  readonly refreshMs: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics: DataPlaneMetrics;
  readonly signal: AbortSignal;
  /** Called with all there are whenever an answer came, changed or not; at once with those that need no question. */
  readonly found: (all: readonly Found[]) => void;
}

export interface Discovery {
  /** Asks now for whatever is not known; resolves when there are answers, with the code of the last failure if any. */
  now(): Promise<string | undefined>;
  /** Names as configured, whose last question failed. */
  failing(): readonly string[];
}

/** Nobody has more of one name; more would be a mistake or an attack. */
const MAX_FOUND = 256;

interface Source {
  readonly name: string;
  readonly ask: () => Promise<Found[]>;
  /** The last good answer. */
  found: readonly Found[];
  /** Why the last question failed. */
  failure: string | undefined;
  pending: Promise<void> | undefined;
}

/**
 * Keeps asking for the names among `addresses` until `signal` aborts. A question that fails, or that is answered with
 * nothing, changes nothing: the last good answer stands.
 */
export function followAddresses(options: DiscoveryOptions): Discovery {
  const { listener, clock, random, log, metrics, refreshMs, signal } = options;
  const fixed: Found[] = [];
  const sources: Source[] = [];
  for (const address of options.addresses) {
    if ('host' in address && isIP(address.host) !== 0) {
      fixed.push({ ...address, servername: undefined, priority: 0, weight: 1 });
    } else sources.push(sourceOf(address, options.resolver));
  }
  const publish = () => {
    const unique = new Map<string, Found>();
    for (const one of [...fixed, ...sources.flatMap(({ found }) => found)]) {
      const key = `${one.host} ${one.port}`;
      if (!unique.has(key) && unique.size < MAX_FOUND) unique.set(key, one);
    }
    options.found([...unique.values()]);
  };
  const counted = (result: string) => {
    metrics.dnsLookups.with({ listener, result }).value++;
  };
  const answered = (source: Source, found: readonly Found[]) => {
    if (found.length === 0) return failed(source, 'empty');
    counted('ok');
    source.found = found;
    if (source.failure !== undefined) {
      log.info(
        { event: 'dns_recovered', listener, name: source.name },
        `outbound "${listener}": ${source.name} resolves again`,
      );
    }
    source.failure = undefined;
    if (!signal.aborted) publish();
  };
  const failed = (source: Source, failure: string) => {
    counted(failure === 'empty' ? 'empty' : 'failed');
    if (source.failure === undefined && !signal.aborted) {
      const kept = source.found.length;
      log.warn(
        {
          event: 'dns_failed',
          code: 'SL-DNS-001',
          listener,
          name: source.name,
          system: failure,
          kept,
          fix: `correct address of outbound "${listener}", or the name servers`,
        },
        `outbound "${listener}": ${source.name} does not resolve (${failure}); ${kept === 0 ? 'there is no earlier answer' : `the ${kept} addresses known stay in use`}`,
      );
    }
    source.failure = failure;
  };
  const look = (source: Source): Promise<void> => {
    source.pending ??= source
      .ask()
      .then(
        (found) => answered(source, found),
        (error: unknown) => failed(source, failureOf(error)),
      )
      .finally(() => {
        source.pending = undefined;
      });
    return source.pending;
  };
  const follow = async (source: Source) => {
    for (let failures = 0; ; ) {
      await look(source);
      failures = source.failure === undefined ? 0 : failures + 1;
      const regular = refreshMs * (0.8 + 0.4 * random());
      const soon = backoffDelay(failures - 1, { min: SECOND, max: refreshMs }, random);
      await clock.sleep(failures === 0 ? regular : Math.min(regular, soon), signal);
    }
  };
  publish();
  // Ends with an AbortError.
  for (const source of sources) follow(source).catch(() => {});

  return {
    async now() {
      await Promise.all(sources.filter(({ found }) => found.length === 0).map(look));
      return sources.find(({ failure }) => failure !== undefined)?.failure;
    },
    failing: () => sources.filter(({ failure }) => failure !== undefined).map(({ name }) => name),
  };
}

function failureOf(error: unknown): string {
  const code = nodeCode(error) ?? 'error';
  return code === 'ENODATA' ? 'empty' : code;
}

function sourceOf(address: UpstreamAddress, resolver: Resolver): Source {
  const at = async (name: string, port: number, priority: number, weight: number): Promise<Found[]> => {
    const hosts = isIP(name) === 0 ? await resolver.addresses(name) : [name];
    return hosts.map((host) => ({ host, port, servername: name, priority, weight }));
  };
  const fresh = { found: [], failure: undefined, pending: undefined };
  if ('host' in address) {
    return { ...fresh, name: address.host, ask: () => at(address.host, address.port, 0, 1) };
  }
  return {
    ...fresh,
    name: address.srv,
    async ask() {
      const records = await resolver.services(address.srv);
      // RFC 2782: weight 0 is for those that should hardly be used beside others; a target of "." means there is none.
      const usable = records.filter(({ name }) => name !== '' && name !== '.');
      const answers = await Promise.allSettled(
        usable.map(({ name, port, priority, weight }) => at(name, port, priority, Math.max(weight, 0.01))),
      );
      const found = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
      const broken = answers.find((answer) => answer.status === 'rejected');
      if (found.length === 0 && broken !== undefined) throw broken.reason;
      return found;
    },
  };
}
