import type { SrvRecord } from 'node:dns';
import { Resolver as Dns, lookup } from 'node:dns/promises';

/** Asks for names. */
export interface Resolver {
  /** IP addresses of both families; rejects with the system's code, and an empty answer is one. */
  addresses(name: string): Promise<readonly string[]>;
  services(name: string): Promise<ReadonlyArray<Pick<SrvRecord, 'name' | 'port' | 'priority' | 'weight'>>>;
}

/** Slow questions to the system each hold one of the four threads that reading files needs too. */
const MAX_LOOKUPS = 2;
const TRIES = 2;
const TIMEOUT = 2_000;

export interface ResolverOptions {
  /** `IP` or `IP:PORT`; those of the system, with its hosts file and search domains, unless given. */
  readonly servers?: readonly string[];
  /** False: whole names, asked of name servers alone; true unless given. */
  readonly hostsFile?: boolean;
}

/**
 * Names are asked as every program of the machine does (hosts file, search domains), SRV records of its name servers. With
 * `servers` all is asked there and nowhere else; with `hostsFile: false` of the machine's name servers alone.
 */
export function createResolver({ servers = [], hostsFile = true }: ResolverOptions = {}): Resolver {
  const dns = new Dns({ timeout: TIMEOUT, tries: TRIES });
  if (servers.length > 0) dns.setServers([...servers]);
  const limited = atMost(MAX_LOOKUPS);
  return {
    addresses: (name) =>
      servers.length > 0 || !hostsFile
        ? bothFamilies(dns, name)
        : limited(async () => (await lookup(name, { all: true })).map(({ address }) => address)),
    services: (name) => dns.resolveSrv(name),
  };
}

/** What one family has is enough: many names have but one, and some servers answer for the other with an error. */
async function bothFamilies(dns: Dns, name: string): Promise<string[]> {
  const answers = await Promise.allSettled([dns.resolve4(name), dns.resolve6(name)]);
  const found = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
  const [first] = answers;
  if (found.length === 0 && first.status === 'rejected') throw first.reason;
  return found;
}

function atMost(max: number): <T>(work: () => Promise<T>) => Promise<T> {
  let running = 0;
  const waiting: Array<() => void> = [];
  return async (work) => {
    if (running >= max) await new Promise<void>((resolve) => waiting.push(resolve));
    else running++;
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next === undefined) running--;
      else next();
    }
  };
}
