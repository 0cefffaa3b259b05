import { type Clock, MINUTE, type Random, SECOND } from '../base/clock.ts';
import { isAbort } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { Conversation } from './conversation.ts';
import type { IdentityReader } from './identity.ts';

interface ProbeOptions {
  readonly conversation: Pick<Conversation, 'trust'>;
  readonly reader: IdentityReader;
  /** Called once for each bundle that is not the one in use. */
  readonly bundleChanged: () => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

const FIRST_MS = 30 * SECOND;
const EVERY_MS = 5 * MINUTE;

/**
 * Asks the manager for the trust bundle now and then: renewals are weeks apart, and whether it is there, what its
 * clock says and which roots it trusts should be known sooner. Resolves when the signal aborts.
 */
export async function probeManager(options: ProbeOptions): Promise<void> {
  const { conversation, reader, bundleChanged, clock, random, log, signal } = options;
  let told: string | undefined;

  const probe = async () => {
    const identity = reader.current();
    if (identity === undefined) return;
    const { sha256 } = await conversation.trust(identity.material);
    if (sha256 === identity.trustGeneration || sha256 === told) return;
    told = sha256;
    log.info({ event: 'trust_changed', from: identity.trustGeneration, to: sha256 }, 'the manager has another bundle');
    bundleChanged();
  };

  try {
    for (let wait = FIRST_MS * random(); ; wait = EVERY_MS * (0.9 + 0.2 * random())) {
      await clock.sleep(wait, signal);
      await probe().catch((error: unknown) => {
        signal.throwIfAborted();
        log.debug({ event: 'manager_probe_failed', err: error }, 'the manager did not answer a probe');
      });
    }
  } catch (error) {
    if (!isAbort(error)) throw error;
  }
}
