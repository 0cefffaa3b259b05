import { dirname } from 'node:path';
import { SidelockErrors } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { Metrics } from '../base/metrics.ts';
import type { SidecarConfig } from '../config/sidecar.ts';
import type { Sidecar } from '../sidecar/sidecar.ts';
import { watchDirectory } from '../store/watch.ts';
import { sidecarOptions } from './sidecar-options.ts';

interface ReloadOptions {
  /** Path of the config file; there is nothing to follow without one, or on standard input. */
  readonly file: string | undefined;
  /** What the sidecar was started with. */
  readonly config: SidecarConfig;
  /** Reads and checks file, environment and flags anew. */
  readonly load: () => Promise<SidecarConfig>;
  readonly sidecar: Sidecar;
  readonly metrics: Metrics;
  readonly log: Logger;
}

/** Takes up what changes of `allow`, `policy` and `mode` in the config file, and says which other changes need a restart. */
export interface ConfigReload extends AsyncDisposable {
  /** Now, and with a line in the log even when nothing changed. */
  reload(): Promise<void>;
}

export async function followConfig(options: ReloadOptions): Promise<ConfigReload> {
  const { file, config, load, sidecar, metrics, log } = options;
  const successful = metrics.gauge('sidelock_config_last_reload_successful', '0 while the config file is not usable.');
  successful.with({}).value = 1;
  const [rules, others] = split(config);
  let inForce = rules;
  let reported = JSON.stringify([[], true]);

  const reload = async (asked: boolean) => {
    let failure: unknown;
    let restart: string[] = [];
    let changed = false;
    let closed = 0;
    try {
      const fresh = await load();
      const [nextRules, nextOthers] = split(fresh);
      changed = nextRules !== inForce;
      if (changed) closed = await sidecar.setRules(sidecarOptions(fresh, undefined).inbound);
      inForce = nextRules;
      restart = Object.keys(others).filter((key) => others[key] !== nextOthers[key]);
    } catch (error) {
      failure = error;
    }
    successful.with({}).value = failure === undefined ? 1 : 0;
    const why = failure === undefined ? undefined : textOf(failure);
    const state = JSON.stringify([restart, why ?? true]);
    if (!asked && !changed && state === reported) return;
    reported = state;
    if (why !== undefined) {
      log.error(
        { event: 'config_reload_failed', file, why, fix: 'sidelock config validate FILE' },
        'the config file is not usable: the rules of before stay in force',
      );
    } else if (restart.length > 0) {
      log.warn(
        { event: 'config_reloaded', file, closed, restart, fix: 'restart the sidecar' },
        `the config was read again; changes of ${restart.join(', ')} need a restart`,
      );
    } else log.info({ event: 'config_reloaded', file, closed, changed }, 'the config was read again');
  };

  // Never two at once: the later one must win.
  let turn = Promise.resolve();
  const inTurn = (asked: boolean) => {
    turn = turn.then(() => reload(asked));
    return turn;
  };
  const watch =
    file === undefined || file === '-'
      ? undefined
      : await watchDirectory({ dir: dirname(file), log, onChange: () => inTurn(false) });
  return {
    reload: () => inTurn(true),
    async [Symbol.asyncDispose]() {
      await watch?.[Symbol.asyncDispose]();
      await turn;
    },
  };
}

/** What can change while it runs, as text to compare, and the rest by key. */
function split(config: SidecarConfig): [rules: string, others: Readonly<Record<string, string>>] {
  const rules = config.inbound.map(({ name, allow, policy, mode }) => ({ name, allow, policy, mode }));
  const rest = { ...config, inbound: config.inbound.map(({ allow: _a, policy: _p, mode: _m, ...more }) => more) };
  return [
    JSON.stringify(rules),
    Object.fromEntries(Object.entries(rest).map(([key, value]) => [key, JSON.stringify(value) ?? ''])),
  ];
}

function textOf(error: unknown): string {
  if (error instanceof SidelockErrors) return error.errors.map(({ message }) => message).join('; ');
  return error instanceof Error ? error.message : String(error);
}
