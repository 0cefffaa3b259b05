import type { Command } from 'commander';
import { type ListenerPolicyReport, type PolicyAnswer, policyAnswer, type SeenCaller } from '../api/wire-sidecar.ts';
import { parseSpiffeId, serviceOf } from '../pki/names.ts';
import { addAdminFlag, askAdmin } from './admin.ts';
import { type Context, command } from './command.ts';

interface AdminFlags {
  readonly admin: string;
}

export function policyCommand(context: Context): Command {
  return command('policy', {
    summary: 'who may call, written from who did',
    description: 'Rules of a running sidecar.',
    examples: [['sidelock policy suggest', 'the allow list for what was seen']],
  }).addCommand(suggestCommand(context));
}

function suggestCommand({ output }: Context): Command {
  const made = command('suggest', {
    summary: 'print the allow list for what was seen',
    description:
      'What callers did while policy was audit, as the smallest allow list that permits it: methods, and paths by their first segment. Read it before you use it: what was seen is not always what should be.',
    examples: [
      ['sidelock policy suggest', 'of the sidecar on 127.0.0.1:9901'],
      ['sidelock policy suggest --admin 127.0.0.1:9902 > allow.yaml', 'of another one'],
      ['sidelock policy suggest -o json', 'all that was recorded'],
    ],
  });
  return addAdminFlag(made).action(async ({ admin }: AdminFlags) => {
    const report = policyAnswer.parse(await askAdmin(admin, '/policy'));
    output.result(report, () => report.listeners.map((one) => suggestion(one, report)).join('\n'));
  });
}

function suggestion({ listener, policy, since, callers, other }: ListenerPolicyReport, place: PolicyAnswer): string {
  const head = `# inbound ${listener}, policy ${policy} since ${since}\n`;
  if (policy !== 'audit') return `${head}# nothing is recorded: set policy: audit\n`;
  if (callers.length === 0) return `${head}# nobody has called yet\n`;
  const lines = callers
    .toSorted((a, b) => (a.id < b.id ? -1 : 1))
    .flatMap((caller) => [
      ...entriesOf(caller, place).map((entry) => `  - ${entry}\n`),
      ...(caller.other === 0
        ? []
        : [`  # ${caller.id}: ${caller.other} more requests that no rule can name, or too many kinds of them\n`]),
    ]);
  const more = other === 0 ? '' : `  # ${other} more connections or requests of callers beyond the limit\n`;
  return `${head}allow:\n${lines.join('')}${more}`;
}

function entriesOf({ id, requests }: SeenCaller, place: PolicyAnswer): string[] {
  const caller = callerOf(id, place);
  if (requests.length === 0) return [caller.text];
  const methodsOf = Map.groupBy(requests, ({ path }) => path);
  const byMethods = Map.groupBy(methodsOf, ([, all]) =>
    all
      .map(({ method }) => method)
      .sort()
      .join(', '),
  );
  return [...byMethods].map(([methods, paths]) => {
    const list = paths
      .map(([path]) => JSON.stringify(path))
      .sort()
      .join(', ');
    return `{ ${caller.keys}, methods: [${methods}], paths: [${list}] }`;
  });
}

/** The shortest way to say who it is. */
function callerOf(id: string, place: PolicyAnswer): { readonly text: string; readonly keys: string } {
  const parsed = parseSpiffeId(id);
  const names = parsed.trustDomain === place.trustDomain ? serviceOf(parsed) : undefined;
  if (names === undefined) return { text: JSON.stringify(id), keys: `spiffe: ${JSON.stringify(id)}` };
  const { service, namespace } = names;
  return namespace === place.namespace
    ? { text: service, keys: `service: ${service}` }
    : { text: `${namespace}/${service}`, keys: `namespace: ${namespace}, service: ${service}` };
}
