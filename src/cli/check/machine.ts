import { MINUTE } from '../../base/clock.ts';
import { nodeWarning } from '../surroundings.ts';
import { roughly } from '../table.ts';
import { type Finding, fault, ok } from './finding.ts';

/** What is known of this machine; undefined is what it does not say. */
export interface MachineFacts {
  readonly node: string;
  /** The storage, or the nearest directory above it that is there. */
  readonly disk: { readonly path: string; readonly bytes: number; readonly files: number };
  /** How many files this user may have open in one process. */
  readonly openFiles: number | undefined;
  readonly inotify: { readonly watches: number | undefined; readonly instances: number | undefined };
  /** The youngest file of the manager's state. */
  readonly youngest: { readonly path: string; readonly at: number } | undefined;
  /** ms since the epoch. */
  readonly now: number;
}

const MIB = 1 << 20;
const ROOM = { error: 16 * MIB, warning: 256 * MIB };
const FEW_INODES = 1_000;
const FEW_FILES = 4_096;
const FEW_WATCHES = 1_024;
const FEW_INSTANCES = 32;

export function checkMachine(facts: MachineFacts): Finding[] {
  return [node(facts), disk(facts), files(facts), inotify(facts), clock(facts)].flat();
}

function node({ node }: MachineFacts): Finding {
  const warning = nodeWarning(node);
  if (warning === undefined) return ok('machine.node', `Node ${node}`);
  return fault('machine.node', 'warning', warning, { fix: 'install that version of Node' });
}

function disk({ disk: { path, bytes, files } }: MachineFacts): Finding {
  const free = `${Math.floor(bytes / MIB)} MiB free for ${path}`;
  const status = bytes < ROOM.error ? 'error' : bytes < ROOM.warning ? 'warning' : undefined;
  const why = 'a full disk stops issuing, renewing and the audit log';
  if (status !== undefined) return fault('machine.disk', status, free, { why, fix: `make room in ${path}` });
  // Some file systems have no number of inodes, and say 0.
  if (files > 0 && files < FEW_INODES) {
    return fault('machine.disk', 'warning', `${files} inodes left for ${path}`, { why, fix: `remove files there` });
  }
  return ok('machine.disk', free);
}

function files({ openFiles }: MachineFacts): Finding[] {
  if (openFiles === undefined) return [];
  const summary = `${openFiles} open files allowed`;
  if (openFiles >= FEW_FILES) return [ok('machine.files', summary)];
  const why = `each connection through a sidecar takes two, each sidecar at a manager one; below ${FEW_FILES} it is soon short`;
  return [
    fault('machine.files', 'warning', summary, { why, fix: 'ulimit -n 65536, or LimitNOFILE=65536 of the unit' }),
  ];
}

function inotify({ inotify: { watches, instances } }: MachineFacts): Finding[] {
  if (watches === undefined || instances === undefined) return [];
  const summary = `${watches} inotify watches, ${instances} instances allowed`;
  if (watches >= FEW_WATCHES && instances >= FEW_INSTANCES) return [ok('machine.inotify', summary)];
  const why = 'when other programs have used them up, changed files are found by looking every few seconds';
  const fix = 'sysctl fs.inotify.max_user_watches=65536 fs.inotify.max_user_instances=256';
  return [fault('machine.inotify', 'warning', summary, { why, fix })];
}

function clock({ youngest, now }: MachineFacts): Finding[] {
  if (youngest === undefined) return [];
  const ahead = youngest.at - now;
  if (ahead <= MINUTE) return [ok('machine.clock', 'the clock is not behind the files of the storage')];
  const summary = `the clock is at least ${roughly(ahead)} behind`;
  const why = `${youngest.path} was written ${new Date(youngest.at).toISOString()}, here it is ${new Date(now).toISOString()}`;
  return [fault('machine.clock', 'error', summary, { why, fix: 'timedatectl set-ntp true' })];
}
