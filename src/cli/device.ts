import { readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import { SECOND } from '../base/clock.ts';
import { nodeCode, SidelockError } from '../base/errors.ts';
import { DEVICE_FORMATS, type DeviceCredentials, type DeviceFormat, deviceFiles } from '../devices/formats.ts';
import { createExclusive } from '../store/files.ts';
import { CERT_MODE, DIRECTORY_MODE, KEY_MODE } from '../store/layout.ts';
import { type Context, command, list } from './command.ts';
import { durationFlag } from './duration.ts';
import type { ManagerFlags } from './manager-options.ts';
import { addStorageFlags, withManager } from './with-manager.ts';

interface DeviceFlags extends ManagerFlags {
  readonly from?: string;
  readonly sans?: readonly string[];
  readonly format: DeviceFormat | 'text';
  readonly output?: string;
}

interface TokenFlags extends ManagerFlags {
  readonly sans?: readonly string[];
  readonly ttl?: string;
}

export function deviceCommand(context: Context): Command {
  return command('device', {
    summary: 'certificates for devices, as their firmware takes them',
    description: 'EC P-256 keys and certificates from an issuer of their own under the root.',
    examples: [
      ['sidelock device create teddy-bear-001', 'JSON for the program that flashes it'],
      ['sidelock device create --from ids.txt --format nvs-csv --output ./flash', 'many, for ESP-IDF'],
    ],
  })
    .addCommand(createCommand(context))
    .addCommand(tokenCommand(context));
}

function createCommand(context: Context): Command {
  const { output } = context;
  const made = command('create', {
    summary: 'keys and certificates of new devices',
    description:
      'The keys are made here, handed out once and kept nowhere. Each device has the name NAME.devices.ai-teddy.com.',
    examples: [
      [
        'sidelock device create teddy-bear-001',
        'one, as JSON on standard output: certificate, private_key, ca_certificate',
      ],
      ['sidelock device create teddy-bear-001 teddy-bear-002 --format c-header --output ./flash', 'a header each'],
      ['sidelock device create --from ids.txt --format der --output ./flash', 'a name a line'],
    ],
  })
    .argument('[name...]', 'names of devices')
    .optionsGroup('The devices')
    .option('--from <FILE>', 'further names, one a line')
    .option('--sans <LIST>', 'further DNS names; only for one device', list)
    .option('--output <DIR>', 'where their files go; existing ones are not replaced');
  made.options
    .find(({ long }) => long === '--format')
    ?.choices(DEVICE_FORMATS)
    .default('json');
  return addStorageFlags(made).action(async (given: readonly string[], flags: DeviceFlags) => {
    const { sans, output: directory } = flags;
    const names = [...new Set([...given, ...(flags.from === undefined ? [] : namesIn(flags.from))])];
    const format = DEVICE_FORMATS.find((known) => known === flags.format) ?? 'json';
    if (names.length === 0) throw usage('there are no devices to create', 'name them, or give --from FILE');
    if (sans !== undefined && names.length > 1) throw usage('--sans is for one device', 'create it alone');
    if (directory === undefined && (names.length > 1 || format !== 'json')) {
      throw usage('several files cannot go to standard output', 'give --output DIR');
    }
    if (directory !== undefined) await mkdir(directory, { recursive: true, mode: DIRECTORY_MODE });
    const written: string[] = [];
    const only = await withManager(context, flags, {
      create: true,
      work: async (client) => {
        let last: DeviceCredentials | undefined;
        await output.progress.during('making device certificates', async () => {
          for (const [i, name] of names.entries()) {
            output.progress.tell(`${i + 1}/${names.length}  ${name}`);
            last = await client.createDevice({ device: name, ...(sans && { sans: [...sans] }) });
            if (directory !== undefined) written.push(...(await write(directory, name, last, format)));
          }
        });
        return last;
      },
    });
    if (directory === undefined) return output.raw(`${JSON.stringify(only, undefined, 2)}\n`);
    output.result(
      { apiVersion: 'sidelock/v1', kind: 'DeviceList', items: names, files: written },
      () => `${written.join('\n')}\n${output.style('green', output.signs.ok)} ${names.length} devices\n`,
    );
  });
}

function tokenCommand(context: Context): Command {
  const { output } = context;
  const made = command('token', {
    summary: 'a join token for a device that makes its own key',
    description:
      'Good for one certificate of this device, by EST (RFC 7030) where devices.est is on: the token is the password of HTTP Basic.',
    examples: [['sidelock device token teddy-bear-001', 'printed, and kept nowhere']],
  })
    .argument('<name>', 'of the device')
    .optionsGroup('The token')
    .option('--sans <LIST>', 'further DNS names', list)
    .option('--ttl <DURATION>', 'how long it is good, as in 30m');
  return addStorageFlags(made).action(async (device: string, { sans, ttl, ...flags }: TokenFlags) => {
    const ttlSeconds = ttl === undefined ? undefined : Math.floor(durationFlag('--ttl', ttl, SECOND) / SECOND);
    const request = { device, ...(sans && { sans: [...sans] }), ...(ttlSeconds && { ttlSeconds }) };
    const created = await withManager(context, flags, { work: (client) => client.createDeviceToken(request) });
    output.result({ ...created, expiresAt: new Date(created.expiresAt).toISOString() }, () => `${created.token}\n`);
  });
}

async function write(
  directory: string,
  name: string,
  made: DeviceCredentials,
  format: DeviceFormat,
): Promise<string[]> {
  const files = deviceFiles(name, made, format);
  for (const { name: file, data, secret } of files) {
    const path = join(directory, file);
    if (await createExclusive(path, data, secret ? KEY_MODE : CERT_MODE)) continue;
    throw new SidelockError('SL-FS-003', `${path} exists already`, {
      why: 'the key of a device is never replaced',
      fix: 'move it away, or give another --output',
    });
  }
  return files.map((file) => join(directory, file.name));
}

function namesIn(path: string): string[] {
  try {
    const lines = readFileSync(path, 'utf8')
      .split('\n')
      .map((line) => line.trim());
    return lines.filter((line) => line !== '' && !line.startsWith('#'));
  } catch (cause) {
    throw new SidelockError('SL-FS-001', `cannot read ${path}`, { why: nodeCode(cause), cause });
  }
}

function usage(message: string, fix: string): SidelockError {
  return new SidelockError('SL-USAGE-001', message, { fix });
}
