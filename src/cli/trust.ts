import type { Command } from 'commander';
import type { TrustStatusAnswer, TrustStepRequest } from '../api/wire-trust.ts';
import { SECOND, systemClock } from '../base/clock.ts';
import { type Context, command } from './command.ts';
import { confirmed, refuseSilence } from './confirm.ts';
import { durationFlag } from './duration.ts';
import { printable } from './failure.ts';
import type { ManagerFlags } from './manager-options.ts';
import { day, roughly, table } from './table.ts';
import { addStorageFlags, withManager } from './with-manager.ts';

interface StepFlags extends ManagerFlags {
  readonly dryRun?: boolean;
  readonly yes?: boolean;
  readonly undo?: boolean;
  readonly absent?: string;
  readonly closeConnections?: boolean;
  readonly within?: string;
}

/** So many of those who are behind are shown; JSON has all. */
const SHOWN = 20;

export function trustCommand(context: Context): Command {
  return command('trust', {
    summary: 'how one root follows another, without a moment in which two parties cannot talk',
    description:
      'A root is replaced in three steps, each when everybody is ready for it: stage makes the next root and spreads it, activate lets it sign, retire ends the old one. Nothing is restarted. Each step is on disk as a whole: what a crash interrupts was done or was not.',
    examples: [
      ['sidelock trust status', 'where it stands, who is behind, and what comes next'],
      ['sidelock trust stage', 'then wait until status says that all have confirmed'],
      ['sidelock trust activate --dry-run', 'who stands against it'],
    ],
  })
    .addCommand(statusCommand(context))
    .addCommand(stageCommand(context))
    .addCommand(activateCommand(context))
    .addCommand(retireCommand(context))
    .addCommand(compromiseCommand(context));
}

function statusCommand(context: Context): Command {
  const made = command('status', {
    summary: 'the roots, who has confirmed them, and the next step',
    description:
      'Sidecars say which bundle they serve with; for files that the manager keeps it looks itself. Who is behind is named with the reason.',
    examples: [
      ['sidelock trust status', 'for people'],
      ['sidelock trust status --format json', 'all of it'],
    ],
  });
  return addStorageFlags(made).action(async (flags: ManagerFlags) => {
    show(context, await withManager(context, flags, { work: (client) => client.trustStatus() }));
  });
}

function stageCommand(context: Context): Command {
  const made = command('stage', {
    summary: 'make the next root and spread it; the old one still signs',
    description: 'Sidecars that run have the new root in their bundle within seconds, and say so.',
    examples: [
      ['sidelock trust stage', 'the first step'],
      ['sidelock trust stage --undo', 'back, while nothing was signed by it'],
    ],
  })
    .optionsGroup('The step')
    .option('--undo', 'take the new root back');
  return step(context, made, (flags) => ({ step: flags.undo === true ? 'unstage' : 'stage' }));
}

function activateCommand(context: Context): Command {
  const made = command('activate', {
    summary: 'let the new root sign; sidecars get certificates of it',
    description:
      'Refused until every sidecar with a certificate in use has confirmed the new root. Whoever misses it all the same is served too: the new root comes cross-signed by the old one.',
    examples: [
      ['sidelock trust activate', 'the second step'],
      ['sidelock trust activate --absent 1d', 'sidecars not heard of for a day are taken as gone'],
    ],
  });
  return step(context, absentFlag(made), () => ({ step: 'activate' }));
}

function retireCommand(context: Context): Command {
  const made = command('retire', {
    summary: 'end the old root, and destroy its key',
    description:
      'Refused while a certificate of the old root is in use, a sidecar has not confirmed its new one, or a connection from before is open. Sidecars then take the root out of their bundles and judge open connections again.',
    examples: [
      ['sidelock trust retire --dry-run', 'who still needs the old root'],
      ['sidelock trust retire --yes', 'the last step, in a script'],
      ['sidelock trust retire --close-connections', 'do not wait for connections that never end'],
    ],
  });
  const flags = absentFlag(made)
    .option('--close-connections', 'what was opened under the old root is closed')
    .option('--yes', 'do not ask');
  return step(context, flags, () => ({ step: 'retire' }), {
    question: 'The key of the old root is destroyed. Retire it?',
    unless: 'the old root was not retired',
  });
}

function compromiseCommand(context: Context): Command {
  const made = command('compromise', {
    summary: 'the key of the root is in strange hands: replace everything now',
    description:
      'Makes a new root that signs at once, has every sidecar replace its certificate, and ends the old root as soon as nobody needs it, or when the time is over, whoever is behind. A certificate of the old root renews only when it is on record here, so a forged one does not.',
    examples: [
      ['sidelock trust compromise --yes', 'the old root ends within 5 minutes'],
      ['sidelock trust compromise --within 0s --yes', 'at once; calls may fail until all sidecars have followed'],
    ],
  })
    .optionsGroup('The step')
    .option('--within <DURATION>', 'when the old root ends at the latest, as in 5m')
    .option('--yes', 'do not ask');
  return step(
    context,
    made,
    ({ within }) => ({
      step: 'compromise',
      ...(within === undefined ? {} : { withinMs: durationFlag('--within', within, 0) }),
    }),
    { question: 'Every certificate is replaced, and the old root ends. Go on?', unless: 'nothing was replaced' },
  );
}

function absentFlag(made: Command): Command {
  return made
    .optionsGroup('The step')
    .option('--absent <DURATION>', 'take sidecars not heard of for so long as gone, as in 24h');
}

function step(
  context: Context,
  made: Command,
  requestOf: (flags: StepFlags) => TrustStepRequest,
  ask?: { readonly question: string; readonly unless: string },
): Command {
  const full = made.option('--dry-run', 'only say what stands against it');
  return addStorageFlags(full).action(async (flags: StepFlags) => {
    const { absent, closeConnections, dryRun } = flags;
    const request: TrustStepRequest = {
      ...requestOf(flags),
      ...(absent === undefined ? {} : { absentMs: durationFlag('--absent', absent, SECOND) }),
      ...(closeConnections === undefined ? {} : { closeConnections }),
      ...(dryRun === undefined ? {} : { dryRun }),
    };
    const asks = ask !== undefined && flags.yes !== true && dryRun !== true;
    if (asks) refuseSilence(ask.unless);
    if (asks && !(await confirmed(ask.question))) {
      context.exitCode = 1;
      return context.output.note(ask.unless);
    }
    const status = await withManager(context, flags, { work: (client) => client.trustStep(request) });
    const blocked = status.lacking.length > 0 && (request.step === 'activate' || request.step === 'retire');
    if (dryRun === true && blocked) context.exitCode = 1;
    show(context, status);
    if (dryRun === true) context.output.note('nothing was changed');
  });
}

function show({ output }: Context, status: TrustStatusAnswer): void {
  output.result(documentOf(status), () => {
    const { phase, generation, since, deadline, roots, sidecars, lacking, left, next } = status;
    const now = systemClock.now();
    const ends = deadline === undefined ? '' : `, the old root ends in ${roughly(Math.max(0, deadline - now))}`;
    const rows = roots.map((root) => [
      ...[String(root.number), root.state, printable(root.subject), day(root.notAfter)],
      ...[root.key, String(root.certificates), root.sha256.slice(0, 16)],
    ]);
    const behind = lacking
      .slice(0, SHOWN)
      .map(({ service, namespace, serial, holder, seenAt, why }) => [
        ...[namespace === 'default' ? service : `${namespace}/${service}`, serial.slice(0, 16)],
        ...[seenAt === undefined ? (holder === 'sidecar' ? 'never' : '') : `${roughly(now - seenAt)} ago`, why],
      ]);
    const more = lacking.length + left - behind.length;
    return [
      `trust  ${output.style('bold', phase)} for ${roughly(now - since)}, generation ${generation}${ends}\n\n`,
      table(['root', 'state', 'name', 'ends', 'key', 'certificates', 'sha256'], rows, { width: output.width }),
      `\nsidecars  ${sidecars.confirmed} of ${sidecars.total} have confirmed the bundle\n`,
      behind.length === 0
        ? ''
        : `${output.style('yellow', output.signs.warn)} ${lacking.length + left} not ready for the next step\n\n`,
      behind.length === 0 ? '' : table(['service', 'serial', 'heard', 'why'], behind, { width: output.width }),
      more > 0 ? `and ${more} more\n` : '',
      `  next  ${next}\n`,
    ].join('');
  });
}

/** Times as RFC 3339. */
function documentOf({ since, deadline, roots, lacking, ...rest }: TrustStatusAnswer): object {
  const time = (ms: number | undefined) => (ms === undefined ? undefined : new Date(ms).toISOString());
  return {
    ...{ apiVersion: 'sidelock/v1', kind: 'TrustStatus', ...rest, since: time(since), deadline: time(deadline) },
    roots: roots.map((root) => ({ ...root, notAfter: time(root.notAfter) })),
    lacking: lacking.map((one) => ({ ...one, seenAt: time(one.seenAt), until: time(one.until) })),
  };
}
