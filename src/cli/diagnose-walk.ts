import { readFile } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import { createManagerClient } from '../api/client.ts';
import { SECOND, systemClock } from '../base/clock.ts';
import { isSidelockError, nodeCode, SidelockError } from '../base/errors.ts';
import { type HostPort, remoteAddress } from '../config/fields.ts';
import { parseDuration } from '../config/units.ts';
import { parseBundle } from '../pki/bundle.ts';
import type { IdentityMaterial } from '../pki/material.ts';
import { serviceOf } from '../pki/names.ts';
import { shortName } from '../sidecar/authorize.ts';
import { type DiagnosisStep, diagnose } from '../sidecar/diagnose.ts';
import { identityDirectory } from '../sidecar/identity-directory.ts';
import { explainNotice } from '../sidecar/notices-in.ts';
import type { IdentityOptions } from '../sidecar/options.ts';
import { readBundle } from '../sidecar/sources/bundle.ts';
import { readDirectory } from '../sidecar/sources/files.ts';
import type { Context } from './command.ts';
import { printable } from './failure.ts';
import type { Output } from './output.ts';
import { sidecarOptions } from './sidecar-options.ts';
import { loadSidecarConfig } from './start-sidecar.ts';

export interface DiagnoseFlags {
  readonly identity?: string;
  readonly config?: string;
  readonly ca?: string;
  readonly expect?: readonly string[];
  readonly timeout: string;
}

/** Prints each step as it was gone. @throws SL-USAGE-001, SL-FS-001, SL-PEM-* and what else an identity may be at fault with */
export async function walk(context: Context, address: string, flags: DiagnoseFlags): Promise<void> {
  const target = readTarget(address);
  const timeoutMs = parseDuration(flags.timeout);
  if (typeof timeoutMs !== 'number') {
    throw new SidelockError('SL-USAGE-001', `--timeout ${flags.timeout}: ${timeoutMs.problem}`);
  }
  const from = await readFrom(context, flags, target);
  const now = systemClock.now();
  const bundle = flags.ca === undefined ? undefined : parseBundle(await readText(flags.ca), flags.ca, now);
  const { material } = from;
  const place = {
    trustDomain: material?.spiffeId.trustDomain ?? from.trustDomain,
    namespace: (material === undefined ? undefined : serviceOf(material.spiffeId)?.namespace) ?? from.namespace,
  };
  const steps: DiagnosisStep[] = [];
  const going = diagnose({
    ...{ target, material, bundle, timeoutMs, ...place, clock: systemClock },
    expect: flags.expect ?? from.expect,
    askWhy: material === undefined ? undefined : (by) => askManager(by, material, from.manager, place),
  });
  for await (const step of going) {
    steps.push(step);
    context.output.print(stepText(step, context.output));
  }
  const bad = steps.filter(({ state }) => state === 'failed');
  if (bad.length > 0) context.exitCode = 1;
  const verdict = bad.length === 0 ? 'ok' : 'failed';
  const document = {
    apiVersion: 'sidelock/v1',
    kind: 'Diagnosis',
    target: address,
    steps,
    verdict,
    fault: bad[0]?.fault,
  };
  context.output.result(document, () => '');
}

function readTarget(address: string): HostPort {
  const parsed = remoteAddress().safeParse(address);
  if (parsed.success) return parsed.data;
  throw new SidelockError('SL-USAGE-001', `${address} is not HOST:PORT`, { why: parsed.error.issues[0]?.message });
}

interface From {
  readonly material?: IdentityMaterial;
  readonly expect?: readonly string[];
  /** Address of the manager that gave the identity. */
  readonly manager?: string | undefined;
  readonly trustDomain: string;
  readonly namespace: string;
}

const PLACE = { trustDomain: 'ai-teddy.local', namespace: 'default' };

async function readFrom(context: Context, flags: DiagnoseFlags, target: HostPort): Promise<From> {
  if (flags.identity !== undefined && flags.config !== undefined) {
    throw new SidelockError('SL-USAGE-001', '--identity and --config both say who we are', { fix: 'give one of them' });
  }
  if (flags.config !== undefined) {
    const { config } = await loadSidecarConfig(context, { config: flags.config });
    const { identity, trustDomain, namespace } = sidecarOptions(config, undefined);
    const isTarget = (one: object) => 'port' in one && isDeepStrictEqual(one, target);
    const outbound = config.outbound.find(({ address }) => [address].flat().some(isTarget));
    const expect = outbound === undefined || outbound.expect.length > 0 ? outbound?.expect : [outbound.service];
    return { ...(await readIdentity(identity)), ...(expect === undefined ? {} : { expect }), trustDomain, namespace };
  }
  if (flags.identity === undefined) return PLACE;
  return { ...(await readIdentity({ source: 'files', directory: flags.identity })), ...PLACE };
}

/** Past its end too: that is one of the things to be told. */
async function readIdentity(identity: IdentityOptions): Promise<Pick<From, 'material' | 'manager'>> {
  const read =
    identity.source === 'bundle'
      ? await readBundle(identity, { expectedId: undefined })
      : await readDirectory(identity, { expectedId: undefined });
  const material = read.load(systemClock.now(), { allowExpired: true });
  if (identity.source === 'bundle') return { material };
  const kept = await identityDirectory(identity.directory, material.spiffeId.uri).managerAddress();
  return { material, manager: identity.source === 'manager' ? (identity.address ?? kept) : kept };
}

/** Waits this long for the word of the one who refused. */
const WORD_MS = 3 * SECOND;

async function askManager(by: string, material: IdentityMaterial, address: string | undefined, place: typeof PLACE) {
  if (address === undefined) return undefined;
  const signal = AbortSignal.timeout(WORD_MS);
  const client = createManagerClient({ address, clock: systemClock, identity: () => material, signal });
  try {
    let seen = { crl: 0, notices: 0 };
    for (;;) {
      const { crl, notices } = await client.news(seen);
      const notice = notices.findLast((one) => one.by === by && one.role === 'client');
      if (notice !== undefined) {
        const { code, fix, why } = explainNotice(notice, material.leaf, systemClock.now());
        const sentence = `${shortName(by, place)} refused our certificate: ${why}`;
        return { reason: notice.reason, code, fix, sentence };
      }
      seen = { crl: crl?.number ?? seen.crl, notices: Math.max(seen.notices, ...notices.map(({ seq }) => seq)) };
    }
  } catch (error) {
    // Without its word there is still what we saw ourselves.
    if (signal.aborted || isSidelockError(error)) return undefined;
    throw error;
  }
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new SidelockError('SL-FS-001', `cannot read ${path}`, { why: nodeCode(cause), cause });
  }
}

function stepText({ step, state, text, details = [], fault }: DiagnosisStep, { signs, style }: Output): string {
  const marks = {
    ok: style('green', signs.ok),
    warning: style('yellow', signs.warn),
    failed: style('red', signs.fail),
  };
  const more = [
    ...details.map(printable),
    ...(fault === undefined ? [] : [`fix: ${printable(fault.fix)}`, `${fault.code} ${fault.reason}`]),
  ];
  return [`${marks[state]} ${step.padEnd(6)}  ${printable(text)}`, ...more.map((line) => `          ${line}`)].join(
    '\n',
  );
}
