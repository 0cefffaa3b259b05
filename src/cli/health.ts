import type { Command } from 'commander';
import type { CertificateRecord } from '../api/wire.ts';
import type { ValidationAnswer } from '../api/wire-care.ts';
import { systemClock } from '../base/clock.ts';
import { type Context, command } from './command.ts';
import { printable } from './failure.ts';
import type { ManagerFlags } from './manager-options.ts';
import { roughly } from './table.ts';
import { addStorageFlags, withManager } from './with-manager.ts';

type Finding = ValidationAnswer['findings'][number];
type Status = 'healthy' | 'warning' | 'expired' | 'invalid';

interface Health {
  readonly service: string;
  readonly expires: string | undefined;
  readonly secondsLeft: number | undefined;
  readonly status: Status;
  readonly findings: readonly Finding[];
}

export function healthCommand(context: Context): Command {
  const { output } = context;
  const made = command('health', {
    summary: 'whether every certificate is good, service by service',
    description:
      'Names each service, when its certificate ends, and what is wrong with it. Exit code 1 when one is expired or invalid; what is only due soon is a warning.',
    examples: [
      ['sidelock health --format json', 'for a monitor: items and a summary'],
      ['sidelock health --format text', 'for people'],
      ['sidelock health > /dev/null || page-somebody', 'the exit code alone'],
    ],
  });
  return addStorageFlags(made).action(async (flags: ManagerFlags) => {
    const { certificates, findings } = await withManager(context, flags, {
      work: async (client) => {
        // First: whoever lists certificates loads them, which corrects the modes that are looked at here.
        const { findings } = await client.validate();
        const { certificates } = await client.listCertificates();
        return { certificates, findings };
      },
    });
    const items = healthOf(certificates, findings);
    const count = (status: Status) => items.filter((one) => one.status === status).length;
    const good = count('healthy') + count('warning');
    const summary = {
      total: items.length,
      healthy: count('healthy'),
      warning: count('warning'),
      expired: count('expired'),
      invalid: count('invalid'),
      healthPercentage: items.length === 0 ? 100 : Math.round((1000 * good) / items.length) / 10,
    };
    if (good < items.length) context.exitCode = 1;
    output.result({ apiVersion: 'sidelock/v1', kind: 'HealthReport', items, summary }, () => {
      const blocks = items.map((one) => healthText(one, context));
      const closing = `${good} of ${items.length} healthy (${summary.healthPercentage.toFixed(1)}%)\n`;
      return ['mTLS Health Check\n===================\n', ...blocks, closing].join('');
    });
  });
}

function healthOf(certificates: readonly CertificateRecord[], findings: readonly Finding[]): Health[] {
  const found = Map.groupBy(findings, ({ service }) => service);
  // What was revoked is waited for by nobody; files of it that still lie there are a finding.
  const known = new Map(certificates.filter((c) => c.revokedAt === undefined).map((c) => [c.service, c]));
  // Files that no certificate is on record for are there all the same, and so is the CA when something is wrong with it.
  const services = [...new Set([...known.keys(), ...found.keys()])].sort();
  return services.map((service) => {
    const own = found.get(service) ?? [];
    const end = known.get(service)?.notAfter;
    return {
      service,
      expires: end === undefined ? undefined : new Date(end).toISOString(),
      secondsLeft: end === undefined ? undefined : Math.floor((end - systemClock.now()) / 1000),
      status: statusOf(own),
      findings: own,
    };
  });
}

function statusOf(findings: readonly Finding[]): Status {
  if (findings.some(({ id }) => id === 'cert.expired')) return 'expired';
  if (findings.some(({ severity }) => severity === 'error')) return 'invalid';
  return findings.length > 0 ? 'warning' : 'healthy';
}

function healthText({ service, expires, secondsLeft, status, findings }: Health, { output }: Context): string {
  const colour = status === 'healthy' ? 'green' : status === 'warning' ? 'yellow' : 'red';
  const left = secondsLeft === undefined || secondsLeft < 0 ? '' : ` (${roughly(secondsLeft * 1000)} left)`;
  const lines = [
    `Service: ${service}`,
    expires === undefined ? undefined : `  Expires: ${expires.slice(0, 19).replace('T', ' ')} UTC${left}`,
    `  Status: ${output.style(colour, status)}`,
    ...findings.flatMap(({ message, fix }) => [`    ${printable(message)}`, `    fix  ${printable(fix)}`]),
  ];
  return lines.flatMap((line) => (line === undefined ? [] : [`${line}\n`])).join('');
}
