import { dirname } from 'node:path';
import type { Clock, Random } from '../../base/clock.ts';
import type { Readiness } from '../../base/lifecycle.ts';
import type { Logger } from '../../base/log.ts';
import type { Metrics } from '../../base/metrics.ts';
import { serviceSpiffeId } from '../../pki/names.ts';
import type { IdentityHolder } from '../identity.ts';
import { trackIdentity } from '../identity-state.ts';
import { openKeptLists } from '../kept-lists.ts';
import { identityMetrics } from '../metrics-identity.ts';
import type { BundleIdentityOptions, FilesIdentityOptions, SidecarOptions, WatchOptions } from '../options.ts';
import type { RevocationHolder } from '../revocation.ts';
import { readBundle } from './bundle.ts';
import { followCrlFile } from './crl-file.ts';
import { readDirectory } from './files.ts';
import { type ManagerTalk, startManagerSource } from './manager.ts';
import { createReloader, type ReloadContext } from './reload.ts';
import type { IdentitySource } from './source.ts';
import { keepLooking } from './watch.ts';

/** Revocation lists beside an identity that somebody else writes. */
interface ListsOfFiles {
  readonly file: string;
  /** Directory in which the newest are kept over restarts. */
  readonly keep?: string | undefined;
  readonly revocation: RevocationHolder;
}

export interface IdentityDependencies {
  readonly holder: IdentityHolder;
  /** Kept going where the source is a manager. */
  readonly talk?: ManagerTalk | undefined;
  /** Followed where the identity is in files. */
  readonly lists?: ListsOfFiles | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly readiness: Readiness;
  readonly signal: AbortSignal;
}

/**
 * Keeps the holder supplied with the newest good identity of one source. Resolves after the first look at the disk,
 * whether or not there was an identity: readiness has the blocker `identity` until there is one. Never rejects for
 * what is on disk or for a manager that is away.
 */
export async function startIdentitySource(
  options: Pick<SidecarOptions, 'identity' | 'service' | 'trustDomain' | 'namespace'>,
  { metrics, readiness, ...dependencies }: IdentityDependencies,
): Promise<IdentitySource> {
  const { identity, service, trustDomain, namespace } = options;
  const { holder } = dependencies;
  const stop = new AbortController();
  const signal = AbortSignal.any([dependencies.signal, stop.signal]);
  const context: ReloadContext = {
    ...dependencies,
    signal,
    metrics: identityMetrics(metrics, holder),
    state: trackIdentity({ ...dependencies, reader: holder, readiness, signal }),
  };
  const expectedId = service === undefined ? undefined : serviceSpiffeId({ trustDomain, namespace, service });

  const started =
    identity.source === 'manager' || identity.source === 'kubernetes'
      ? await startManagerSource(
          { ...identity, namespace, trustDomain },
          { ...context, registry: metrics, talk: dependencies.talk },
        )
      : await startFileSource(identity, expectedId, { ...context, lists: dependencies.lists });
  return {
    renewNow: () => started.renewNow(),
    async [Symbol.asyncDispose]() {
      stop.abort();
      await started[Symbol.asyncDispose]();
    },
  };
}

async function startFileSource(
  identity: FilesIdentityOptions | BundleIdentityOptions,
  expectedId: string | undefined,
  context: ReloadContext & { readonly lists: ListsOfFiles | undefined },
): Promise<IdentitySource> {
  const read =
    identity.source === 'files'
      ? () => readDirectory(identity, { expectedId })
      : () => readBundle(identity, { expectedId });
  const [where, directories] =
    identity.source === 'files'
      ? [identity.directory, [identity.directory]]
      : [identity.file, [dirname(identity.file), dirname(identity.ca)]];
  const reloader = createReloader({ ...context, read, where });
  await using started = new AsyncDisposableStack();
  started.use(await keepLooking(reloader, directories, identity, context));
  if (context.lists !== undefined) started.use(await followLists(context.lists, identity, context));
  const running = started.move();
  return { renewNow: () => reloader.reload(), [Symbol.asyncDispose]: () => running.disposeAsync() };
}

async function followLists(
  { file, keep, revocation }: ListsOfFiles,
  watch: WatchOptions,
  { holder, clock, log, signal }: ReloadContext,
): Promise<AsyncDisposable> {
  const by = { revocation, clock, log };
  const kept = keep === undefined ? undefined : await openKeptLists({ home: keep, reader: holder, ...by });
  const { debounceMs, pollMs } = watch;
  return await followCrlFile({ file, kept, holder, signal, ...by, debounceMs, pollMs });
}
