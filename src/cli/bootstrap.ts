import type { Command } from 'commander';
import type { CertificateRecord } from '../api/wire.ts';
import { systemClock } from '../base/clock.ts';
import { SidelockError } from '../base/errors.ts';
import type { ManagerConfig } from '../config/manager.ts';
import { type Context, command } from './command.ts';
import { item } from './list.ts';
import { loadManagerConfig, type ManagerFlags } from './manager-options.ts';
import { day, table } from './table.ts';
import { addStorageFlags, withManager } from './with-manager.ts';

type Service = ManagerConfig['services'][number];

export function bootstrapCommand(context: Context): Command {
  const { output } = context;
  const made = command('bootstrap', {
    summary: 'make the certificates of all services of a config file',
    description:
      'Makes the certificate authority where there is none, and each certificate that is missing, out of date, or lacks a name or the type the file gives it. What is in order is left alone, so it is safe to run again.',
    examples: [
      ['sidelock bootstrap --config cluster_config.yaml', 'the services under `services:`'],
      ['sidelock bootstrap --config manager.yaml --storage ./pki', 'into another storage'],
      ['sidelock bootstrap --config manager.yaml -o json', 'for a script'],
    ],
  });
  return addStorageFlags(made).action(async (flags: ManagerFlags) => {
    const { services } = await loadManagerConfig(context, flags);
    if (services.length === 0) {
      const why = flags.config === undefined ? 'no --config was given' : `${flags.config} has no services:`;
      const fix = 'list them in the config file:  services: [{ name: orders, type: api_service }]';
      throw new SidelockError('SL-USAGE-001', 'there are no services to bootstrap', { why, fix });
    }
    const items = await withManager(context, flags, {
      create: true,
      work: async (client) => {
        const there = new Map(
          (await client.listCertificates()).certificates.map((c) => [`${c.namespace}/${c.service}`, c]),
        );
        const done: Array<{ readonly state: 'created' | 'kept'; readonly certificate: CertificateRecord }> = [];
        await output.progress.during('making certificates', async () => {
          for (const [i, service] of services.entries()) {
            output.progress.tell(`${i + 1}/${services.length}  ${service.name}`);
            const known = there.get(`${service.namespace}/${service.name}`);
            if (known !== undefined && isInOrder(known, service)) done.push({ state: 'kept', certificate: known });
            else {
              const { name, type, sans, namespace } = service;
              const { certificate } = await client.generate({ service: name, type, namespace, sans: [...sans] });
              done.push({ state: 'created', certificate });
            }
          }
        });
        return done;
      },
    });
    const count = (state: string) => items.filter((one) => one.state === state).length;
    const summary = { created: count('created'), kept: count('kept') };
    const rows = items.map(({ state, certificate: c }) => [
      c.service,
      c.type,
      state,
      day(c.notAfter),
      c.directory ?? '',
    ]);
    output.result(
      {
        apiVersion: 'sidelock/v1',
        kind: 'BootstrapResult',
        items: items.map(({ state, certificate }) => ({ state, ...item(certificate) })),
        summary,
      },
      () =>
        table(['service', 'type', 'state', 'until', 'files'], rows, { width: output.width }) +
        `${output.style('green', output.signs.ok)} ${summary.created} created, ${summary.kept} kept\n`,
    );
  });
}

function isInOrder(known: CertificateRecord, { type, sans }: Service): boolean {
  const { directory, notAfter } = known;
  const present = new Set(known.sans);
  return (
    directory !== undefined &&
    notAfter > systemClock.now() &&
    known.type === type &&
    sans.every((name) => present.has(name))
  );
}
