import { type Finding, fault, ok, orOk } from './finding.ts';

/** One file or directory as it lies there. */
export interface FileFacts {
  readonly path: string;
  /** Permission bits. */
  readonly mode: number;
  readonly uid: number;
}

export interface StorageFacts {
  readonly path: string;
  /** Undefined where no manager has run yet. */
  readonly directory: FileFacts | undefined;
  /** Of what is above it and there. */
  readonly parent: FileFacts & { readonly writable: boolean };
  readonly keys: readonly FileFacts[];
  readonly socket: FileFacts | undefined;
  /** Who we run as. */
  readonly uid: number;
}

/** Where a manager has run. */
export function checkStorage(facts: StorageFacts): Finding[] {
  const { directory, keys, socket, path } = facts;
  if (directory === undefined) {
    const remedy = { why: 'no manager has run there yet', fix: `give --storage, or: sidelock check --pre` };
    return [fault('storage.directory', 'error', `there is no certificate storage in ${path}`, remedy)];
  }
  const modes = [directory, ...keys].flatMap((file) => modeFaults(file, facts.uid));
  return [
    ok('storage.directory', path),
    ...orOk(modes, 'storage.modes', `private keys: ${keys.length}, each for its owner alone`),
    ...(socket === undefined ? [] : socketFindings(socket)),
  ];
}

/** Where one is going to run. */
export function checkPlace({ path, directory, parent }: StorageFacts): Finding[] {
  if (directory !== undefined) return [ok('storage.directory', `${path} holds a CA already, which stays`)];
  if (!parent.writable) {
    const remedy = {
      why: `we may not write to ${parent.path}`,
      fix: `make it, and chown it to the user of the manager`,
    };
    return [fault('storage.directory', 'error', `${path} cannot be made`, remedy)];
  }
  if ((parent.mode & 0o002) !== 0 && (parent.mode & 0o1000) === 0) {
    const why = `anyone could put another directory in its place (mode ${octal(parent.mode)})`;
    return [
      fault('storage.directory', 'error', `${parent.path} is writable by everyone`, {
        why,
        fix: `chmod o-w ${parent.path}`,
      }),
    ];
  }
  return [ok('storage.directory', `${path} can be made`)];
}

function modeFaults({ path, mode, uid }: FileFacts, own: number): Finding[] {
  const found: Finding[] = [];
  if ((mode & 0o077) !== 0) {
    const isKey = path.endsWith('.key') || path.endsWith('.pem');
    const fix = isKey ? `chmod 0600 ${path}; if others had it for long, replace the key` : `chmod 0700 ${path}`;
    found.push(
      fault('storage.modes', 'error', `${path} is open to other users`, { why: `its mode is ${octal(mode)}`, fix }),
    );
  }
  if (uid !== own && uid !== 0) {
    const why = `its owner has uid ${uid}, we run as ${own}`;
    found.push(
      fault('storage.modes', 'error', `${path} belongs to another user`, { why, fix: `chown ${own} ${path}` }),
    );
  }
  return found;
}

function socketFindings({ path, mode }: FileFacts): Finding[] {
  if ((mode & 0o077) === 0) return [ok('storage.socket', 'the socket is for its owner alone')];
  const why = `its mode is ${octal(mode)}; whoever may open it may create tokens and revoke`;
  return [fault('storage.socket', 'error', `${path} is open to other users`, { why, fix: `chmod 0600 ${path}` })];
}

function octal(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, '0');
}
