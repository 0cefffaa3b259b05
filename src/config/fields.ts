import { isIP, isIPv4, isIPv6 } from 'node:net';
import * as z from 'zod';
import { LOG_LEVELS } from '../base/log.ts';
import { plainPath } from '../base/request-path.ts';
import { parseDuration, parseSize } from './units.ts';

/** The kinds of value that config keys hold. Each reads text and yields what the options of the layers take. */

export const KEY_TYPES = ['rsa-2048', 'rsa-3072', 'rsa-4096', 'ecdsa-p256', 'ecdsa-p384', 'ed25519'] as const;

/** Of the manager's profiles; a unit test compares the two, as config imports no layer but base. */
export const SERVICE_TYPES = [
  'ai_service',
  'child_service',
  'parent_service',
  'api_service',
  'database',
  'cache',
  'gateway',
] as const;

// A type, not an interface: the declarations of the schemas spell it out.
export type HostPort = {
  readonly host: string;
  readonly port: number;
};

interface Problem {
  readonly problem: string;
}

/** Text that `parse` reads, or a problem at this key. The JSON Schema shows what is written, not what is read. */
function text<R>(parse: (value: string) => R, input: z.ZodType<string | number> = z.string()) {
  return input.transform((value, context): Exclude<R, Problem> => {
    const result = parse(String(value));
    if (!isProblem(result)) return result as Exclude<R, Problem>;
    context.addIssue({ code: 'custom', message: result.problem });
    return z.NEVER;
  });
}

function isProblem(result: unknown): result is Problem {
  return typeof result === 'object' && result !== null && 'problem' in result;
}

function textOrInteger(expected: string) {
  return z.union([z.int(), z.string()], { error: `expected ${expected}` });
}

/** Milliseconds. */
export function duration(limits: { readonly min?: string; readonly max?: string } = {}) {
  const min = milliseconds(limits.min) ?? 1;
  const max = milliseconds(limits.max) ?? Number.MAX_SAFE_INTEGER;
  return text((value) => {
    const ms = parseDuration(value);
    if (typeof ms === 'number' && ms < min) return { problem: `at least ${limits.min ?? '1ms'} is needed` };
    if (typeof ms === 'number' && ms > max) return { problem: `at most ${limits.max} is possible` };
    return ms;
  });
}

/** Bytes. */
export function size() {
  return text(parseSize);
}

/** Milliseconds, or undefined for the word `off`. `0` is refused, since it reads as both "at once" and "never". */
export function durationOrOff() {
  return text((value): number | undefined | Problem => {
    if (value === 'off') return undefined;
    const ms = parseDuration(value);
    return ms === 0 ? { problem: 'write off for no limit' } : ms;
  });
}

function milliseconds(value: string | undefined): number | undefined {
  const ms = value === undefined ? undefined : parseDuration(value);
  return typeof ms === 'number' ? ms : undefined;
}

/** `HOST:PORT`, `[IPv6]:PORT`, or `PORT` alone, for `host`; `:PORT` is every interface. Port 0 lets the system choose. */
export function listenAddress(host: string) {
  return text(
    (value) => parseHostPort(value.startsWith(':') ? `0.0.0.0${value}` : value, host, 0),
    textOrInteger('HOST:PORT or PORT'),
  );
}

/** As `listenAddress`, or `unix:/path`. */
export function listenPlace(host: string) {
  return text((value): HostPort | { readonly path: string } | Problem => {
    if (value.startsWith('unix:')) return socketPath(value);
    return parseHostPort(value.startsWith(':') ? `0.0.0.0${value}` : value, host, 0);
  }, textOrInteger('HOST:PORT, PORT or unix:/path'));
}

function socketPath(value: string): { readonly path: string } | Problem {
  const path = value.slice('unix:'.length);
  return path.startsWith('/') ? { path } : { problem: 'a unix socket needs an absolute path: unix:/run/app.sock' };
}

/** Permission bits of a unix socket, as text: YAML reads 0660 in two ways. */
export function socketMode() {
  return text((value): number | Problem =>
    /^0?[0-7]{3}$/.test(value) ? Number.parseInt(value, 8) : { problem: "expected an octal mode in quotes: '0660'" },
  );
}

/** An address, or a network as `10.0.0.0/8`. */
export function network() {
  return text((value) => {
    const [host = '', bits, ...more] = value.split('/');
    const longest = isIPv4(host) ? 32 : isIPv6(host) ? 128 : -1;
    const fits = bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= longest);
    return longest > 0 && fits && more.length === 0
      ? value
      : { problem: 'expected an address or a network: 10.0.0.0/8' };
  });
}

/** Where an app listens: `PORT` of this machine, `HOST:PORT`, or `unix:/path`. */
export function targetAddress() {
  return text((value): HostPort | { readonly path: string } | Problem => {
    return value.startsWith('unix:') ? socketPath(value) : parseHostPort(value, '127.0.0.1', 1);
  }, textOrInteger('PORT, HOST:PORT or unix:/path'));
}

/** `HOST:PORT` of another machine. */
export function remoteAddress() {
  return text((value) => parseHostPort(value, undefined, 1));
}

/** `HOST:PORT` of another machine, or `srv:NAME` of SRV records. */
export function upstreamAddress() {
  return text((value): HostPort | { readonly srv: string } | Problem => {
    if (!value.startsWith('srv:')) return parseHostPort(value, undefined, 1);
    const srv = value.slice('srv:'.length);
    return SRV_NAME.test(srv) ? { srv } : { problem: 'expected srv:NAME of SRV records: srv:_orders._tcp.internal' };
  });
}

const SRV_NAME = /^[a-z0-9_](?:[-a-z0-9_.]{0,251}[a-z0-9.])?$/i;

/** A share above 0, at most 1. */
export function share() {
  return z.number().gt(0, { error: 'expected more than 0' }).max(1, { error: 'expected at most 1' });
}

/** `IP` or `IP:PORT` of a name server. */
export function nameServer() {
  return text((value) => {
    if (isIP(value) !== 0) return value;
    const found = parseHostPort(value, undefined, 1);
    if ('problem' in found) return { problem: 'expected IP or IP:PORT of a name server' };
    return isIP(found.host) === 0 ? { problem: 'expected an IP address: a name would need a name server' } : value;
  });
}

function parseHostPort(value: string, host: string | undefined, minPort: number): HostPort | Problem {
  const match = /^(?:(?:\[([0-9a-f:.]+(?:%\w+)?)\]|([^:[\]/\s]+)):)?(\d{1,5})$/i.exec(value);
  const found = match?.[1] ?? match?.[2] ?? host;
  const port = Number(match?.[3]);
  if (match === null || found === undefined) {
    const forms = host === undefined ? 'HOST:PORT' : 'HOST:PORT or PORT';
    return { problem: `expected ${forms}; IPv6 as [::1]:8443` };
  }
  if (port < minPort || port > 65_535) return { problem: `port ${port} is not between ${minPort} and 65535` };
  return { host: found, port };
}

/** `https://HOST[:PORT]` of a manager. */
export function managerAddress() {
  return text((value) => {
    const url = URL.canParse(value) ? new URL(value) : undefined;
    if (url?.protocol !== 'https:') return { problem: 'expected https://HOST:PORT' };
    if (url.pathname !== '/' || url.search !== '' || url.username !== '') {
      return { problem: 'expected nothing but https://HOST:PORT' };
    }
    return url.origin;
  });
}

/** `http://` or `https://` of another program. */
export function webAddress() {
  return text((value) => {
    const url = URL.canParse(value) ? new URL(value) : undefined;
    return url?.protocol === 'http:' || url?.protocol === 'https:'
      ? value
      : { problem: 'expected http:// or https://' };
  });
}

/** `http://`, `https://` or `tcp://` of this machine. */
export function probeTarget() {
  return text((value): URL | Problem => {
    const url = URL.canParse(value) ? new URL(value) : undefined;
    const ours = url !== undefined && ['127.0.0.1', '[::1]', 'localhost'].includes(url.hostname);
    if (!ours || !/^(?:https?|tcp):$/.test(url.protocol) || (url.port === '' && url.protocol === 'tcp:')) {
      return { problem: 'expected http://127.0.0.1:PORT/PATH, https://… or tcp://127.0.0.1:PORT' };
    }
    return url;
  });
}

/** The least level of alerts that one way out is told of. */
export function alertLevel(fallback: 'info' | 'warning' | 'error' | 'critical' = 'warning') {
  return z
    .enum(['info', 'warning', 'error', 'critical', 'off'], { error: 'expected info, warning, error, critical or off' })
    .prefault(fallback)
    .describe('least level that is told, or off');
}

const LABEL = /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/;
const LABEL_PROBLEM = 'expected a DNS label: a-z, 0-9 and -, at most 63 characters';

/** Name of a service, a namespace, or anything else that becomes a label of a DNS name. */
export function label() {
  return z.string().regex(LABEL, { error: LABEL_PROBLEM });
}

/** `SERVICE` or `NAMESPACE/SERVICE`. */
export function serviceReference() {
  return text((value) => {
    const parts = value.split('/');
    return parts.length <= 2 && parts.every((part) => LABEL.test(part))
      ? value
      : { problem: 'expected SERVICE or NAMESPACE/SERVICE' };
  });
}

const SPIFFE_PATTERN = /^spiffe:\/\/[a-z0-9._-]+(?:\/[A-Za-z0-9._-]+)*(?:\/[A-Za-z0-9._-]+|\/\*)$/;

/** Who may call or who must answer: a service, a namespace, or by SPIFFE id. */
export function caller() {
  return text((value) => {
    if (value === 'any') return { problem: 'write allow: any alone, not inside a list' };
    if (value.startsWith('spiffe:')) {
      return SPIFFE_PATTERN.test(value)
        ? value
        : { problem: 'not a SPIFFE id; at its end /* stands for one segment or more' };
    }
    const [first = '', second, ...more] = value.split('/');
    if (more.length === 0 && LABEL.test(first) && (second === undefined || second === '*' || LABEL.test(second))) {
      return value;
    }
    return { problem: 'expected SERVICE, NAMESPACE/SERVICE, NAMESPACE/* or a SPIFFE id' };
  });
}

/** A caller, or a block that names one and what it may ask for. */
export function allowEntry() {
  return z.union(
    [
      caller(),
      z
        .strictObject({
          service: label().optional().describe('in namespace, or our own'),
          namespace: label().optional().describe('alone: all of it'),
          spiffe: spiffePattern().optional().describe('instead of service and namespace'),
          methods: z.array(method()).min(1).optional().describe('with protocol: http or http2; all unless given'),
          paths: z.array(pathPattern()).min(1).optional().describe('exact, or a prefix with /* at its end'),
        })
        .superRefine(checkEntry),
    ],
    { error: 'expected a caller, or a block with service, namespace or spiffe' },
  );
}

interface EntryNames {
  readonly service?: string | undefined;
  readonly namespace?: string | undefined;
  readonly spiffe?: string | undefined;
}

function checkEntry({ service, namespace, spiffe }: EntryNames, context: z.RefinementCtx): void {
  const named = service !== undefined || namespace !== undefined;
  if (named === (spiffe === undefined)) return;
  const message = named ? 'give service and namespace, or spiffe, not both' : 'needs service, namespace or spiffe';
  context.addIssue({ code: 'custom', message });
}

function spiffePattern() {
  return z.string().regex(SPIFFE_PATTERN, { error: 'not a SPIFFE id; at its end /* stands for one segment or more' });
}

function method() {
  return z
    .string()
    .regex(/^[A-Z][A-Z0-9-]{0,31}$/, { error: 'expected a method in capital letters, as it is on the wire: GET' });
}

/** Of a request, for rules. */
function pathPattern() {
  return text((value) => {
    const plain = plainPath(value.endsWith('/*') ? value.slice(0, -1) : value);
    if (plain === undefined || value.includes('?') || plain.includes('*')) {
      return { problem: 'expected /exact/path or /prefix/*, in a form that can be read in one way only' };
    }
    return value;
  });
}

export function trustDomain() {
  return z
    .string()
    .regex(/^[a-z0-9._-]{1,255}$/, { error: 'expected a trust domain: a-z, 0-9, dot, - and _' })
    .prefault('ai-teddy.local')
    .describe('trust domain of every identity (spiffe://TRUST-DOMAIN/…)');
}

/** `sha256:` and 64 hex digits; read as the digits. */
export function fingerprint() {
  return text((value) => {
    const [, digits] = /^(?:sha256:)?([0-9a-f]{64})$/i.exec(value) ?? [];
    return digits?.toLowerCase() ?? { problem: 'expected sha256: and 64 hex digits' };
  });
}

/** Path of a file or directory, as given. */
export function path() {
  return z.string().min(1, { error: 'expected a path' });
}

export function logSettings() {
  return z
    .strictObject({ level: z.enum(LOG_LEVELS).prefault('info').describe('least level that is written') })
    .prefault({});
}

export function head<K extends string>(kind: K) {
  return {
    apiVersion: z.literal('sidelock/v1').prefault('sidelock/v1').describe('version of this format'),
    kind: z.literal(kind).prefault(kind as never),
  };
}

/** A protocol id of RFC 7301, without those that sidecars use among themselves. */
export function alpnName() {
  return text((value) =>
    /^[\x21-\x7e]{1,255}$/.test(value) && !value.startsWith('sidelock/')
      ? value
      : { problem: 'expected a protocol id such as h2 or http/1.1' },
  );
}
