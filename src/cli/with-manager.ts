import { existsSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import type { Command } from 'commander';
import type { socketClient } from '../api/client-socket.ts';
import { isSidelockError, nodeCode, SidelockError } from '../base/errors.ts';
import { createMetrics } from '../base/metrics.ts';
import type { ManagerConfig } from '../config/manager.ts';
import { STATE_DIR } from '../store/layout.ts';
import type { Context } from './command.ts';
import { createLogging } from './logging.ts';
import { loadManagerConfig, type ManagerFlags } from './manager-options.ts';
import { socketPathOf, startManager } from './start-manager.ts';

type Client = ReturnType<typeof socketClient>;

export function addStorageFlags(command: Command): Command {
  return command
    .optionsGroup('Which manager')
    .option('--storage <DIR>', 'its storage; MTLS_STORAGE_PATH or ./pki unless given')
    .option('--config <FILE>', 'its config file');
}

interface Use<T> {
  /** Makes the certificate authority where there is none yet. */
  readonly create?: boolean;
  /** Only a manager that runs will do, and it may take this long to come. ms */
  readonly waitMs?: number | undefined;
  readonly work: (client: Client) => Promise<T>;
}

/** How long a command waits for a manager that holds the storage and does not answer yet: it may be starting. */
const PATIENCE = { times: 50, everyMs: 200 };

/**
 * Runs `work` against the manager that holds the storage. When none runs, one is started for this call alone: it
 * takes the lock, so that none can start meanwhile, and answers on the socket only to us.
 * @throws SL-STORE-003 when there is no storage and `create` is not given.
 */
export async function withManager<T>(
  context: Context,
  flags: ManagerFlags,
  { create = false, waitMs, work }: Use<T>,
): Promise<T> {
  const { socketClient } = await import('../api/client-socket.ts');
  const config = await loadManagerConfig(context, flags);
  const { path: storage } = config.storage;
  const socketPath = socketPathOf(storage);
  const log = createLogging(context.output, { level: 'warn' });
  const times = waitMs === undefined ? PATIENCE.times : Math.ceil(waitMs / PATIENCE.everyMs);
  for (let attempt = 1; ; attempt++) {
    try {
      if (await answers(socketPath)) return await work(socketClient(socketPath));
      if (waitMs !== undefined) throw notThere(socketPath);
      if (config.kubernetes.state === 'secrets') throw await notLeading(config);
      if (!create && !existsSync(join(storage, STATE_DIR))) throw noStorage(storage);
      const metrics = createMetrics();
      await using _manager = await startManager(config, { output: context.output, log, metrics, unseen: true });
      return await work(socketClient(socketPath));
    } catch (error) {
      // One that starts holds the lock and does not answer yet. One that answered and is gone was that of another
      // command: it finishes what it was asked before it ends, so this call was not. One that was not there may have come
      // since we looked.
      const starting = isSidelockError(error, 'SL-STORE-002');
      const gone = isSidelockError(error, 'SL-MGR-001') && (waitMs !== undefined || !(await answers(socketPath)));
      if (!(starting || gone) || attempt >= times) throw error;
      await setTimeout(PATIENCE.everyMs);
    }
  }
}

/** One started for a command would not have the state. */
async function notLeading({ kubernetes: { namespace = '' } }: ManagerConfig): Promise<SidelockError> {
  const [{ connectKubernetes }, { leaderOf }] = await Promise.all([
    import('../kubernetes/client.ts'),
    import('../kubernetes/leader.ts'),
  ]);
  const leader = await leaderOf(await connectKubernetes(), namespace);
  const pod = leader.replace(/_[^_]*$/, '');
  return new SidelockError('SL-HA-002', 'this replica of the manager does not lead', {
    why: leader === '' ? 'none leads at this moment' : `${pod} leads`,
    ...(leader === '' ? {} : { fix: `kubectl -n ${namespace} exec ${pod} -- … with the same command` }),
    data: { leader },
  });
}

/** Whether a manager listens there. What a dead one left answers nothing. @throws SL-API-002 */
function answers(socketPath: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(socketPath);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (cause) => {
      if (nodeCode(cause) !== 'EACCES') return resolve(false);
      const why = 'the socket belongs to the user that the manager runs as';
      reject(
        new SidelockError('SL-API-002', `may not open ${socketPath}`, {
          why,
          fix: 'run the command as that user',
          cause,
        }),
      );
    });
  });
}

function notThere(socketPath: string): SidelockError {
  return new SidelockError('SL-MGR-001', `no manager answers on ${socketPath}`, {
    why: 'it did not come within the time of --wait',
    fix: 'start one: sidelock manager',
  });
}

function noStorage(path: string): SidelockError {
  return new SidelockError('SL-STORE-003', `there is no certificate storage in ${path}`, {
    why: 'no manager has run there yet',
    fix: `give --storage or MTLS_STORAGE_PATH, or start one: sidelock manager --storage ${path}`,
  });
}
