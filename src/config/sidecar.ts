import * as z from 'zod';
import {
  allowEntry,
  alpnName,
  caller,
  duration,
  durationOrOff,
  fingerprint,
  head,
  KEY_TYPES,
  label,
  listenAddress,
  listenPlace,
  logSettings,
  managerAddress,
  nameServer,
  network,
  path,
  probeTarget,
  serviceReference,
  share,
  size,
  socketMode,
  targetAddress,
  trustDomain,
  upstreamAddress,
} from './fields.ts';

const source = <S extends string>(name: S) => z.literal(name).describe('where certificate and key come from');

const identity = z.discriminatedUnion(
  'source',
  [
    z.strictObject({
      source: source('manager'),
      directory: path().optional().describe('kept here over restarts; .sidelock/SERVICE unless given'),
      address: managerAddress().optional().describe('manager to enrol with; the join token carries it'),
      tokenFile: path().optional().describe('file with the join token'),
      keyType: z.enum(KEY_TYPES).optional().describe('type of the key made here; rsa-2048 unless given'),
      renewBefore: duration().optional().describe('renew this long before the end; 30d unless given'),
    }),
    z.strictObject({
      source: source('kubernetes'),
      address: managerAddress().describe('manager that asks the cluster who this pod is'),
      roots: z
        .array(fingerprint())
        .min(1, { error: 'at least one root is needed' })
        .describe('sha256:HEX of the roots that the manager may show at the first contact'),
      tokenFile: path()
        .prefault('/var/run/secrets/sidelock/token')
        .describe('projected ServiceAccount token with the audience certificate.ai-teddy.com/ca'),
      directory: path().optional().describe('kept here over restarts; .sidelock/SERVICE unless given'),
      keyType: z.enum(KEY_TYPES).optional().describe('type of the key made here; ecdsa-p256 unless given'),
      renewBefore: duration().optional().describe('renew this long before the end; after 2/3 of life unless given'),
    }),
    z.strictObject({
      source: source('files'),
      directory: path().describe('cert.pem, key.pem and ca.pem, rotated by somebody else'),
      certificate: path().optional().describe('name in the directory; cert.pem unless given'),
      key: path().optional().describe('name in the directory; key.pem unless given'),
      ca: path().optional().describe('name in the directory; ca.pem unless given'),
      passphraseFile: path().optional().describe('file with the passphrase of an encrypted key'),
    }),
    z.strictObject({
      source: source('bundle'),
      file: path().describe('one PEM file: key, leaf, intermediates'),
      ca: path().describe('PEM file with the roots'),
      passphraseFile: path().optional().describe('file with the passphrase of an encrypted key'),
    }),
  ],
  { error: 'expected manager, kubernetes, files or bundle' },
);

const protocol = () =>
  z
    .enum(['tcp', 'http', 'http2'], { error: 'expected tcp, http or http2' })
    .prefault('tcp')
    .describe('what the app speaks: tcp relays bytes as they are; http and http2 share connections, judge requests');

const alpn = (what: string) => z.array(alpnName()).min(1).optional().describe(what);

const resumption = (what: string) => z.boolean().prefault(false).describe(what);

const inbound = z
  .strictObject({
    name: label().optional().describe('in logs and metrics'),
    listen: listenPlace('0.0.0.0').describe('where peers connect with mTLS: HOST:PORT, PORT or unix:/path'),
    target: targetAddress().describe('where the app listens without TLS'),
    protocol: protocol(),
    alpn: alpn('with protocol: tcp, what the app speaks, as [h2]: callers that offer none of it are refused'),
    allow: z
      .union([z.literal('any'), z.array(allowEntry()).min(1, { error: 'an empty list lets nobody in' })], {
        error: 'expected a list of callers, or the word any',
      })
      .describe('who may call: SERVICE, NAMESPACE/SERVICE, NAMESPACE/*, a SPIFFE id, a block with more; or any'),
    mode: z
      .enum(['strict', 'permissive'], { error: 'expected strict or permissive' })
      .prefault('strict')
      .describe('permissive also takes callers without TLS, unjudged: on the way to strict'),
    sendProxyHeader: z
      .enum(['v2'], { error: 'expected v2' })
      .optional()
      .describe('with protocol: tcp, a PROXY header before the bytes of a caller: its address and SPIFFE id'),
    acceptProxyHeader: z
      .array(network())
      .min(1)
      .optional()
      .describe('fronts, as [10.0.0.0/8], that have to say by a PROXY header (v2) for whom they speak'),
    socketMode: socketMode().optional().describe("of listen: unix:/path; '0600' unless given"),
    policy: z
      .enum(['enforce', 'audit'], { error: 'expected enforce or audit' })
      .prefault('enforce')
      .describe('audit lets through and records what allow refuses'),
    resumption: resumption('give callers tickets to resume TLS sessions with; every connection is judged anew'),
  })
  .superRefine(checkProtocol)
  .superRefine(checkAlpn)
  .superRefine(({ protocol: spoken, sendProxyHeader }, context) => {
    if (spoken === 'tcp' || sendProxyHeader === undefined) return;
    context.addIssue({ code: 'custom', path: ['sendProxyHeader'], message: 'needs protocol: tcp' });
  });

/** Rules by request where no requests are seen would be rules without effect. */
function checkProtocol(
  { protocol, allow }: { readonly protocol: string; readonly allow: unknown },
  context: z.RefinementCtx,
): void {
  if (protocol !== 'tcp' || !Array.isArray(allow)) return;
  allow.forEach((entry: unknown, i) => {
    for (const key of ['methods', 'paths']) {
      if (typeof entry !== 'object' || entry === null || Reflect.get(entry, key) === undefined) continue;
      context.addIssue({ code: 'custom', path: ['allow', i, key], message: 'needs protocol: http or http2' });
    }
  });
}

/** The other protocols say themselves what they are. */
function checkAlpn(
  { protocol: spoken, alpn: names }: { readonly protocol: string; readonly alpn?: readonly string[] | undefined },
  context: z.RefinementCtx,
): void {
  if (spoken === 'tcp' || names === undefined) return;
  context.addIssue({ code: 'custom', path: ['alpn'], message: 'needs protocol: tcp' });
}

const limit = (fallback: number) => z.int().min(1).max(1_000_000).prefault(fallback);

const outbound = z
  .strictObject({
    name: label().optional().describe('in logs and metrics; the service unless given'),
    listen: listenPlace('127.0.0.1')
      .optional()
      .describe(
        'where the app connects without TLS: HOST:PORT, PORT or unix:/path; needed unless there is a forwardProxy',
      ),
    socketMode: socketMode().optional().describe("of listen: unix:/path; '0600' unless given"),
    service: serviceReference().describe('who must answer: SERVICE or NAMESPACE/SERVICE'),
    address: z
      .union([upstreamAddress(), z.array(upstreamAddress()).min(1, { error: 'an empty list leads nowhere' })], {
        error: 'expected HOST:PORT, srv:NAME, or a list of those',
      })
      .describe('of its mTLS listeners: HOST:PORT (each address of a name), srv:NAME of SRV records, or a list'),
    protocol: protocol(),
    alpn: alpn('with protocol: tcp, what the app speaks, as [h2]: the peer has to agree on one'),
    expect: z.array(caller()).prefault([]).describe('who is accepted there; service unless given'),
    ejection: z
      .union(
        [
          z.literal('off'),
          z.strictObject({
            failures: z.int().min(1).max(1_000).prefault(5).describe('in a row'),
            time: duration({ max: '5m' }).prefault('10s').describe('the first time; twice as long each further time'),
            share: share().prefault(0.7).describe('of all endpoints, the most that are left out at once'),
          }),
        ],
        { error: 'expected off, or a block with failures, time and share' },
      )
      .prefault({})
      .describe('when an endpoint of several is left out for a while'),
    limits: z
      .strictObject({
        maxConnections: limit(10_000).describe(
          'to it, streams counted, of http2 at most 64; beyond them TCP is reset and HTTP waits',
        ),
        maxPending: limit(1_024).describe('that wait for a connection; more are refused'),
        maxRequests: limit(10_000).describe('HTTP requests under way; more are refused'),
      })
      .prefault({})
      .describe('so that a slow upstream leaves room for the others'),
    answerSslRequest: z
      .boolean()
      .prefault(false)
      .describe('tell a PostgreSQL client that asks for TLS no, so that sslmode=prefer works'),
    resumption: resumption('resume TLS sessions with it; every peer is judged anew'),
  })
  .superRefine(checkAlpn)
  .superRefine(({ protocol: spoken, answerSslRequest }, context) => {
    if (spoken === 'tcp' || !answerSslRequest) return;
    context.addIssue({ code: 'custom', path: ['answerSslRequest'], message: 'needs protocol: tcp' });
  });

const within = (min: number, fallback: number, max: number) => z.int().min(min).max(max).prefault(fallback);

const http2Limits = z
  .strictObject({
    maxStreams: within(1, 100, 10_000).describe('open at once on one connection'),
    maxHeaderFields: within(16, 128, 1_000).describe('of a request; of a response twice as many'),
    maxHeaderBytes: within(4_096, 32_768, 131_072).describe(
      'of a request, 32 for each field added; of a response twice as many',
    ),
    streamWindow: within(16_384, 262_144, 16_777_216).describe('bytes on their way on one stream'),
    connectionWindow: within(65_535, 1_048_576, 67_108_864).describe('bytes on their way on one connection'),
    resets: within(1, 10, 10_000).describe('of streams, a second, by a peer; ten times as many at once'),
    settingsFrames: within(5, 20, 1_000).describe('of a peer, in 10 s'),
    pings: within(5, 50, 10_000).describe('of a peer, in 10 s, beyond one for each frame of content'),
    rejectedHeads: within(1, 20, 1_000).describe('of a peer, in 10 s'),
    emptyBytes: within(65_536, 1_048_576, 67_108_864).describe('of frames without content, a second, by a peer'),
  })
  .prefault({})
  .describe('of HTTP/2; what goes beyond ends the stream, or the connection');

export const sidecarSchema = z
  .strictObject({
    ...head('Sidecar'),
    service: label().optional().describe('name of this service; needed to enrol with a manager'),
    namespace: label().prefault('default'),
    trustDomain: trustDomain(),
    identity,
    inbound: z.array(inbound).prefault([]),
    outbound: z.array(outbound).prefault([]),
    forwardProxy: z
      .strictObject({ listen: listenAddress('127.0.0.1').describe('loopback only') })
      .optional()
      .describe('for HTTP_PROXY: one port that leads to each outbound, as http://NAME/ or CONNECT NAME:PORT'),
    admin: z
      .strictObject({ listen: listenAddress('127.0.0.1') })
      .optional()
      .describe('/healthz /readyz /metrics …'),
    health: listenAddress('0.0.0.0')
      .optional()
      .describe('/healthz /readyz /metrics alone, for kubelet and Prometheus; any address'),
    dns: z
      .strictObject({
        servers: z
          .array(nameServer())
          .prefault([])
          .describe('asked for names of outbound; those of the system unless given'),
        hostsFile: z
          .enum(['on', 'off'], { error: 'expected on or off' })
          .prefault('on')
          .describe(
            'off: names of outbound are whole ones, and asked of name servers alone, also where the hosts file has them',
          ),
        refresh: duration({ min: '1s' }).prefault('30s').describe('between two questions for a name'),
      })
      .prefault({}),
    probes: z
      .array(
        z.strictObject({
          path: z
            .string()
            .regex(/^\/[\w./-]{1,300}$/, { error: 'expected a path' })
            .describe('of the health listener'),
          target: probeTarget().describe('what the app is asked: http://127.0.0.1:8080/ready, tcp://127.0.0.1:5432'),
          headers: z
            .array(z.strictObject({ name: z.string().min(1), value: z.string() }))
            .prefault([])
            .describe('of that request'),
        }),
      )
      .prefault([])
      .describe('probes of kubelet that the sidecar asks an app on loopback; `sidelock inject` writes them'),
    state: path()
      .optional()
      .describe('who called without TLS is kept there over restarts; beside a key from the manager unless given'),
    streams: z
      .enum(['on', 'off'], { error: 'expected on or off' })
      .prefault('on')
      .describe('between two sidecars, many connections share one mTLS connection'),
    workers: z
      .int()
      .min(1)
      .max(64)
      .prefault(1)
      .describe('threads that serve; limits of connections and requests are divided'),
    limits: z
      .strictObject({
        maxConnections: limit(10_000),
        maxConnectionsPerCaller: limit(8_000).describe('inbound, of one SPIFFE id, streams counted; more are refused'),
        maxMemory: size()
          .optional()
          .describe(
            'new connections are refused while the process, with the sockets of its container, holds more; 70 % of what that may use unless given',
          ),
        handshakeTimeout: duration().prefault('5s'),
        failedHandshakes: limit(50).describe(
          'a second from one address, four times as many at once; then no TLS for it',
        ),
        connectTimeout: duration().prefault('5s'),
        idleTimeout: duration().prefault('1h'),
        maxLifetime: durationOrOff()
          .prefault('off')
          .describe('of a connection; from 80 % of it on it makes room for a new one, where that costs nothing'),
        requestTimeout: duration().prefault('60s').describe('longest wait for the head of an HTTP response'),
        drain: duration().prefault('30s').describe('longest wait for open connections when stopping'),
        http2: http2Limits,
        linkGrace: duration()
          .prefault('1h')
          .describe('longest wait for what is under way on a connection that was replaced, or whose certificate ended'),
      })
      .prefault({}),
    revocation: z
      .strictObject({
        file: path()
          .optional()
          .describe('PEM file with revocation lists, rotated by somebody else; with identity.source files or bundle'),
        keep: path()
          .optional()
          .describe('directory that keeps the newest lists over restarts; that of the identity with a manager'),
        onStaleCrl: z
          .enum(['warn', 'fail'], { error: 'expected warn or fail' })
          .prefault('warn')
          .describe('with a list that is out of date go on, or let in no new peer'),
      })
      .prefault({}),
    accessLog: z.number().min(0).max(1).prefault(0).describe('share of HTTP requests that get a line in the log'),
    tracing: z.boolean().prefault(false).describe('start a trace for HTTP requests that carry none'),
    log: logSettings(),
  })
  .superRefine(({ identity: { source }, revocation: { file, keep, onStaleCrl } }, context) => {
    const ofFiles = source === 'files' || source === 'bundle';
    const refuse = (key: string, message: string) =>
      context.addIssue({ code: 'custom', path: ['revocation', key], message });
    if (file !== undefined && !ofFiles) refuse('file', 'does nothing here: the manager brings the lists');
    if (file === undefined && ofFiles && onStaleCrl === 'fail') refuse('onStaleCrl', 'fail needs revocation.file');
    if (file === undefined && ofFiles && keep !== undefined) refuse('keep', 'does nothing without revocation.file');
  })
  .superRefine(({ outbound: all, forwardProxy }, context) => {
    if (forwardProxy !== undefined) return;
    all.forEach(({ listen }, i) => {
      if (listen !== undefined) return;
      const message = 'is needed: there is no forwardProxy';
      context.addIssue({ code: 'custom', path: ['outbound', i, 'listen'], message });
    });
  })
  .describe('The proxy beside one service');

export type SidecarConfig = z.output<typeof sidecarSchema>;
