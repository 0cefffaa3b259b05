import { type ClientName, MISFITS, misfit, PROTOCOLS } from '../clients/table.ts';
import { table } from './table.ts';

/** Which client works through which protocol of the sidecars, and why not. */
export function clientTable(): string {
  const names = Object.keys(MISFITS) as ClientName[];
  return table(
    ['client', ...PROTOCOLS.map((protocol) => `\`${protocol}\``)],
    names.map((name) => [name, ...PROTOCOLS.map((protocol) => misfit(name, protocol) ?? '✔')]),
  );
}
