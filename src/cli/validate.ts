import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { ValidationAnswer } from '../api/wire-care.ts';
import { systemClock } from '../base/clock.ts';
import { type Context, command } from './command.ts';
import { printable } from './failure.ts';
import { loadManagerConfig, type ManagerFlags } from './manager-options.ts';
import { addStorageFlags, withManager } from './with-manager.ts';

interface ValidateFlags extends ManagerFlags {
  readonly directory?: string;
}

export function validateCommand(context: Context): Command {
  const { output } = context;
  const made = command('validate', {
    summary: 'check chain, dates, keys, names, usages and file modes',
    description:
      'Judges certificates as their peers will and files as other users may. One line a fault, with what to do; exit code 1 when one is an error. Changes nothing.',
    examples: [
      ['sidelock validate', 'everything there is, and the CA'],
      ['sidelock validate orders web', 'two services'],
      [
        'sidelock validate --directory /etc/sidelock/orders',
        'cert.pem, key.pem and ca.pem of a sidecar, without a manager',
      ],
    ],
  })
    .argument('[service...]', 'all of them unless given')
    .optionsGroup('What')
    .option('--directory <DIR>', 'one set of files, wherever it came from');
  return addStorageFlags(made).action(async (services: readonly string[], flags: ValidateFlags) => {
    const { checked, findings, left } =
      flags.directory === undefined
        ? await withManager(context, flags, {
            work: (client) => client.validate(services.length === 0 ? undefined : services),
          })
        : await validateDirectory(context, flags, flags.directory);
    const errors = findings.filter(({ severity }) => severity === 'error').length;
    if (errors > 0) context.exitCode = 1;
    const summary = { checked, errors, warnings: findings.length - errors, left };
    output.result({ apiVersion: 'sidelock/v1', kind: 'ValidationReport', items: findings, summary }, () => {
      const lines = findings.map(({ id, severity, service, message, fix }) => {
        const mark =
          severity === 'error' ? output.style('red', output.signs.fail) : output.style('yellow', output.signs.warn);
        return `${mark} ${service}  ${id}  ${printable(message)}; fix: ${printable(fix)}\n`;
      });
      if (left > 0) lines.push(`${left} more\n`);
      const mark = findings.length === 0 ? `${output.style('green', output.signs.ok)} ` : '';
      return `${lines.join('')}${mark}${checked} checked, ${errors} errors, ${summary.warnings} warnings\n`;
    });
  });
}

async function validateDirectory(context: Context, flags: ManagerFlags, directory: string): Promise<ValidationAnswer> {
  const { validateFiles } = await import('../manager/validate-files.ts');
  const { certificates } = await loadManagerConfig(context, flags);
  const { findings } = await validateFiles({
    service: undefined,
    directory: resolve(directory),
    trustDomain: undefined,
    thresholdMs: certificates.rotationThreshold,
    now: systemClock.now(),
  });
  return { checked: 1, findings, left: 0 };
}
