import { realpath, stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { PlaintextAnswer } from '../api/wire-sidecar.ts';
import { SidelockError } from '../base/errors.ts';
import { withWord } from '../config/edit.ts';
import type { ListenerMode } from '../sidecar/permissive.ts';
import { writeFileDurable } from '../store/files.ts';
import type { Context } from './command.ts';
import { readConfigFile } from './config-file.ts';
import { sidecarOptions } from './sidecar-options.ts';
import { loadSidecarConfig } from './start-sidecar.ts';

interface Change {
  readonly context: Context;
  readonly file: string;
  readonly names: readonly string[];
  readonly mode: ListenerMode;
  /** What the running sidecar says. */
  readonly look: () => Promise<Pick<PlaintextAnswer, 'strict'>>;
}

const ASK_EACH_MS = 100;
const ASKED = 150;

/**
 * Writes the mode of these inbounds into the file, and waits until the sidecar has taken it up.
 * @throws SL-CFG-001, SL-CFG-006, SL-FS-003, and nothing has changed; SL-MODE-002 when the file has changed alone
 */
export async function changeMode({ context, file, names, mode, look }: Change): Promise<void> {
  if (names.length === 0) return;
  const { config } = await loadSidecarConfig(context, { config: file });
  const { inbound } = sidecarOptions(config, undefined);
  let { text } = await readConfigFile(file);
  for (const name of names) {
    const at = inbound.findIndex((one) => one.name === name);
    if (at === -1) throw new SidelockError('SL-CFG-006', `${file} has no inbound "${name}"`, { fix: OTHER_FILE });
    text = withWord(text, file, ['inbound', at, 'mode'], mode);
  }
  const path = await realpath(file);
  await writeFileDurable(path, text, (await stat(path)).mode & 0o777);
  for (let asked = 0; asked < ASKED; asked++) {
    const { strict } = await look();
    if (names.every((name) => strict.includes(name) === (mode === 'strict'))) return;
    await sleep(ASK_EACH_MS);
  }
  throw new SidelockError('SL-MODE-002', `${file} says ${mode} now, and the sidecar does not follow`, {
    data: { file, names, mode },
  });
}

const OTHER_FILE = 'give --config the file that this sidecar was started with';
