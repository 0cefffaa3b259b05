import type { Clock, Random } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import type { Metrics } from '../base/metrics.ts';
import type { KeyType } from '../pki/keys.ts';
import type { Resolver, ResolverOptions } from './endpoints/resolver.ts';

export interface HostPort {
  readonly host: string;
  /** 0 lets the system choose, where it is listened on. */
  readonly port: number;
}

export interface UnixPath {
  readonly path: string;
}

/** Only this user may connect. */
export const SOCKET_MODE = 0o600;

/** The name of SRV records, which tell hosts and ports. */
export interface SrvName {
  readonly srv: string;
}

/** A host name stands for all its addresses. */
export type UpstreamAddress = HostPort | SrvName;

/** What one upstream may take of this sidecar, so that a slow one leaves room for the others. */
export interface UpstreamLimits {
  /** Connections to it, streams counted. TCP beyond is reset; HTTP waits for one. */
  readonly maxConnections: number;
  /** Connections and requests that wait until there is a connection. More are refused. */
  readonly maxPending: number;
  /** HTTP requests under way. More are refused. */
  readonly maxRequests: number;
}

export const DEFAULT_UPSTREAM_LIMITS: UpstreamLimits = {
  maxConnections: 10_000,
  maxPending: 1_024,
  maxRequests: 10_000,
};

/** When an endpoint of several is left out for a while. */
export interface EjectionOptions {
  /** Failures in a row: connects and handshakes, hang-ups after the handshake, and of HTTP answers 502 to 504. */
  readonly failures: number;
  /** For the first time, ms; each further time twice as long, to five minutes. As long its way back takes. */
  readonly timeMs: number;
  /** Of all endpoints; never more are left out at once. One may be where there are two or more. */
  readonly share: number;
}

/** Callers by name or by SPIFFE pattern, and with `protocol: http` or `http2` what they may ask for. */
export interface AllowEntry {
  /** In `namespace`, or our own. */
  readonly service?: string | undefined;
  /** Alone: all of it. */
  readonly namespace?: string | undefined;
  /** Instead of the two; may end in `/*`. */
  readonly spiffe?: string | undefined;
  /** Case counts, and GET does not include HEAD; all unless given. */
  readonly methods?: readonly string[] | undefined;
  /** Exact, or a prefix that ends in `/*`; all unless given. */
  readonly paths?: readonly string[] | undefined;
}

/**
 * Who may call: the explicit word `any` (every authenticated peer of the trust domain), or entries, each one of
 * `service` (own namespace), `namespace/service`, `namespace/*`, a whole SPIFFE id, or an {@link AllowEntry}. An empty
 * list allows nobody.
 */
export type AllowRule = 'any' | ReadonlyArray<string | AllowEntry>;

/** `enforce` refuses what no rule allows; `audit` lets it through and records it. */
export type PolicyMode = 'enforce' | 'audit';

/**
 * What the app speaks. `tcp` relays bytes as they are; `http` reads HTTP/1.1, so that connections are shared and requests
 * are judged, and takes callers of HTTP/2 too; `http2` is HTTP/2 on both sides, as for gRPC.
 */
export type Protocol = 'tcp' | 'http' | 'http2';

/** Where the sidecar stands in front of its app. */
export interface InboundOptions {
  readonly name: string;
  readonly listen: HostPort | UnixPath;
  readonly target: HostPort | UnixPath;
  readonly protocol: Protocol;
  /** What the app speaks, best first (RFC 7301): callers that offer none of it are refused. `tcp` only. */
  readonly alpn?: readonly string[] | undefined;
  readonly allow: AllowRule;
  /** `permissive` also takes callers without TLS, whom no rule applies to; `strict` unless given. */
  readonly mode?: 'strict' | 'permissive';
  /** The app gets a PROXY header before the first byte: the caller's address, and its SPIFFE id. `tcp` only. */
  readonly sendProxyHeader?: 'v2' | undefined;
  /** Addresses and networks of fronts, which have to say by a PROXY header of version 2 for whom they speak. */
  readonly acceptProxyHeader?: readonly string[] | undefined;
  /** Of a unix socket; {@link SOCKET_MODE} unless given. */
  readonly socketMode?: number | undefined;
  /** `enforce` unless given. */
  readonly policy?: PolicyMode;
  /**
   * Callers may resume an earlier TLS session, by tickets that are good for an hour and until trust, revocation lists,
   * rules or our certificate change; every connection is judged as a new one. False unless given.
   */
  readonly resumption?: boolean;
}

/** A peer, and the local plaintext port that leads to it. */
export interface OutboundOptions {
  readonly name: string;
  /** Reached through the forward proxy alone unless given. */
  readonly listen?: HostPort | UnixPath | undefined;
  /** Of a unix socket; {@link SOCKET_MODE} unless given. */
  readonly socketMode?: number | undefined;
  readonly service: string;
  /** Where the service can be reached: one place or several, which share what comes. */
  readonly address: UpstreamAddress | readonly UpstreamAddress[];
  /** None is ever left out unless given. */
  readonly ejection?: EjectionOptions | undefined;
  /** {@link DEFAULT_UPSTREAM_LIMITS} where it says nothing. */
  readonly limits?: Partial<UpstreamLimits>;
  readonly protocol: Protocol;
  /** What the app speaks, offered to the peer, which has to agree on one. `tcp` only. */
  readonly alpn?: readonly string[] | undefined;
  /** Patterns as in {@link AllowRule}: the peer must be one of these. Empty means `service` in our own namespace. */
  readonly expect: readonly string[];
  /** A PostgreSQL client that asks for TLS is told no, in place of the server; false unless given. `tcp` only. */
  readonly answerSslRequest?: boolean;
  /**
   * A connection may resume an earlier TLS session with the same endpoint, until our identity or a revocation list
   * changes; the peer is judged as by a new one. False unless given.
   */
  readonly resumption?: boolean;
}

/** How soon a changed directory is looked at; all of them have defaults that suit a running sidecar. */
export interface WatchOptions {
  readonly debounceMs?: number | undefined;
  readonly pollMs?: number | undefined;
}

/** The key is made here, the certificate comes from the manager; both are kept in `directory`. */
export interface ManagerIdentityOptions extends WatchOptions {
  readonly source: 'manager';
  readonly service: string;
  readonly directory: string;
  /** `https://host:port`; when absent, that of the join token, which is then kept in `directory`. */
  readonly address?: string;
  /** Asked only when there is no usable identity on disk. May answer undefined: asked again later. */
  readonly token?: () => Promise<string | undefined>;
  /** Of the first key `rsa-2048` unless given, of later ones that of the one before. */
  readonly keyType?: KeyType;
  /**
   * Renew this long before the end, ms; when the manager says unless given, or else 30 days. Short leaves renew at
   * 2/3 of their life.
   */
  readonly renewBeforeMs?: number;
  /** How long after its end a leaf may still be used to ask for the next one, ms; 24 hours unless given. */
  readonly expiredGraceMs?: number;
  /** For one exchange with the manager, ms; 10 s unless given. */
  readonly requestTimeoutMs?: number;
}

/** Identity of a pod: as from the manager, but each time by the ServiceAccount token that kubelet keeps fresh. */
export interface KubernetesIdentityOptions extends WatchOptions {
  readonly source: 'kubernetes';
  /** Name of the ServiceAccount. */
  readonly service: string;
  readonly directory: string;
  /** `https://host:port` */
  readonly address: string;
  /** Roots one of which the manager must show at the first contact: SHA-256, hex. */
  readonly roots: readonly string[];
  readonly token: () => Promise<string>;
  /** `ecdsa-p256` unless given. */
  readonly keyType?: KeyType;
  /** As for the manager. */
  readonly renewBeforeMs?: number;
  readonly requestTimeoutMs?: number;
}

/** Names inside the directory. */
export interface IdentityFileNames {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

/** Any directory that someone rotates: a Secret mount, cert-manager, SPIFFE helper, a script. */
export interface FilesIdentityOptions extends WatchOptions {
  readonly source: 'files';
  readonly directory: string;
  /** When absent: cert.pem, key.pem, ca.pem or else tls.crt, tls.key, ca.crt, whichever is there. */
  readonly files?: IdentityFileNames;
  readonly passphraseFile?: string;
}

/** One file with the key and the chain, as kubelet writes for a pod certificate, and one with the roots. */
export interface BundleIdentityOptions extends WatchOptions {
  readonly source: 'bundle';
  readonly file: string;
  readonly ca: string;
  readonly passphraseFile?: string;
}

export type IdentityOptions =
  | ManagerIdentityOptions
  | KubernetesIdentityOptions
  | FilesIdentityOptions
  | BundleIdentityOptions;

/** Of listeners with `protocol: http` or `http2`. Times are looked at once a second. */
export interface HttpLimits {
  /** From the end of a request to the head of its response, while nothing moves. */
  readonly requestTimeoutMs: number;
  /** From the first byte of a request head to its last. */
  readonly headTimeoutMs: number;
  /** A body of which nothing comes, or nothing is taken. */
  readonly bodyIdleMs: number;
  /** A client connection between requests. */
  readonly keepAliveMs: number;
  /** After this we say 100 (Continue) in place of an app that does not. */
  readonly expectMs: number;
  /** How long input is thrown away after the last answer, so that a reset does not destroy it. */
  readonly lingerMs: number;
  /** Idle connections kept by a listener, to its app or peer. */
  readonly maxIdleUpstreams: number;
  /** Connections being opened at once by a listener, and requests that wait for one. */
  readonly maxOpening: number;
  readonly maxWaiting: number;
}

export const DEFAULT_HTTP_LIMITS: HttpLimits = {
  requestTimeoutMs: 60_000,
  headTimeoutMs: 10_000,
  bodyIdleMs: 60_000,
  keepAliveMs: 60_000,
  expectMs: 1_000,
  lingerMs: 2_000,
  maxIdleUpstreams: 256,
  maxOpening: 64,
  maxWaiting: 1_024,
};

/** Of every HTTP/2 connection, whoever is at its other end (threats.md 3). What goes beyond ends the stream, or the connection. */
export interface Http2Limits {
  /** Streams that one peer may have open at once, and that we open on one connection, whatever the peer allows. */
  readonly maxStreams: number;
  /** Of the head of a request. That of a response may have twice as many fields and bytes. */
  readonly maxHeaderFields: number;
  /** By RFC 9113 6.5.2: names, values, and 32 for each field. */
  readonly maxHeaderBytes: number;
  /** Bytes on their way on one stream, and on all of a connection. */
  readonly streamWindow: number;
  readonly connectionWindow: number;
  /** Streams that a peer may reset in a second; ten times as many at once. */
  readonly resets: number;
  /** Frames from one peer in ten seconds, and heads of it that were refused. */
  readonly settingsFrames: number;
  /** Beyond one for each frame of content. */
  readonly pings: number;
  readonly rejectedHeads: number;
  /** Bytes a second of frames without content, beyond what requests account for. */
  readonly emptyBytes: number;
}

export const DEFAULT_HTTP2_LIMITS: Http2Limits = {
  maxStreams: 100,
  maxHeaderFields: 128,
  maxHeaderBytes: 32 * 1024,
  streamWindow: 256 * 1024,
  connectionWindow: 1024 * 1024,
  resets: 10,
  settingsFrames: 20,
  pings: 50,
  rejectedHeads: 20,
  emptyBytes: 1024 * 1024,
};

export interface SidecarLimits {
  readonly maxConnections: number;
  /** Of one caller to all inbounds, streams counted, so that it leaves room for others; no limit unless given. */
  readonly maxConnectionsPerCaller?: number;
  /** File descriptors for connections, each of which may need two; what the process has to spare unless given. */
  readonly maxDescriptors?: number;
  /**
   * Bytes that the process may hold, pages of files not counted but in a container what waits in the kernel for sockets,
   * before new connections are refused; 70 % of what its container may use unless given, and no limit where that has none.
   */
  readonly maxMemory?: number;
  /** That share `maxMemory`, which is the process's; one unless given. */
  readonly threads?: number;
  readonly handshakeTimeoutMs: number;
  /** Of callers from one address, a second; four times as many at once. Beyond, they are closed before TLS begins. */
  readonly failedHandshakesPerSecond?: number;
  readonly connectTimeoutMs: number;
  readonly idleTimeoutMs: number;
  readonly maxLifetimeMs?: number;
  readonly drainMs: number;
  /**
   * How long a shared connection that was replaced, as by one with a newer certificate, may go on for the streams it
   * has, ms; {@link DEFAULT_LINK_GRACE} unless given.
   */
  readonly linkGraceMs?: number;
  /** {@link DEFAULT_HTTP_LIMITS} where it says nothing. */
  readonly http?: Partial<HttpLimits>;
  /** {@link DEFAULT_HTTP2_LIMITS} where it says nothing. */
  readonly http2?: Partial<Http2Limits>;
}

export const DEFAULT_FAILED_HANDSHAKES = 50;

export const DEFAULT_LINK_GRACE = 3_600_000;

export const DEFAULT_DNS_REFRESH = 30_000;

export const DEFAULT_LIMITS: SidecarLimits = {
  maxConnections: 10_000,
  maxConnectionsPerCaller: 8_000,
  handshakeTimeoutMs: 5_000,
  connectTimeoutMs: 5_000,
  idleTimeoutMs: 3_600_000,
  drainMs: 30_000,
};

/** Port of the admin endpoints unless configured. */
export const DEFAULT_ADMIN: HostPort = { host: '127.0.0.1', port: 9901 };

/** A question of kubelet's that the sidecar asks the app. */
export interface AppProbeOptions {
  /** Of the health listener. */
  readonly path: string;
  /** `http:`, `https:` or `tcp:` of this machine. */
  readonly target: URL;
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

/** Where revocation lists come from, besides from the manager, and what to do without. */
export interface RevocationOptions {
  /** PEM, one list an issuer, rotated by somebody else; with an identity of files or a bundle. */
  readonly file?: string;
  /** Directory in which the newest lists are kept over restarts; that of the identity with a manager, else none unless given. */
  readonly keep?: string;
  /** `warn` goes on with a list that is out of date; `fail` lets in no new peer. `warn` unless given. */
  readonly onStaleCrl?: 'warn' | 'fail';
}

export interface SidecarOptions {
  /** When given, an identity for any other service is refused. */
  readonly service?: string;
  readonly trustDomain: string;
  readonly namespace: string;
  readonly identity: IdentityOptions;
  readonly inbound: readonly InboundOptions[];
  readonly outbound: readonly OutboundOptions[];
  /** Loopback only; one port that leads to each outbound by its name. */
  readonly forwardProxy?: HostPort;
  /**
   * Threads that serve, 1 to 64; 1 unless given, which is the thread that calls. Each takes its share of
   * `limits.maxConnections` and of those of an outbound, rounded up.
   */
  readonly workers?: number;
  /** {@link DEFAULT_ADMIN} unless given; `false` opens none. */
  readonly admin?: HostPort | false;
  /** Where other machines ask for health and metrics; nowhere unless given. */
  readonly health?: HostPort;
  /** What the health listener asks the app for kubelet. */
  readonly probes?: readonly AppProbeOptions[];
  /** Where the record of callers without TLS is kept over restarts; nowhere unless given. */
  readonly stateDirectory?: string;
  readonly limits: SidecarLimits;
  /** How names of `outbound` are resolved. */
  readonly dns?: ResolverOptions & {
    /** Between two questions for a name, ms; {@link DEFAULT_DNS_REFRESH} unless given. */
    readonly refreshMs?: number;
  };
  readonly revocation?: RevocationOptions;
  /** Lowest TLS version; 1.3 unless given. */
  readonly minVersion?: 'TLSv1.2' | 'TLSv1.3';
  /** False gives every local connection an mTLS connection of its own, also between two sidecars. */
  readonly streams?: boolean;
  /** Share of requests that get a line in the log, 0 to 1; none unless given. */
  readonly accessLog?: number;
  /** Starts a trace (traceparent, not sampled) for a request that carries none. */
  readonly tracing?: boolean;
  /** False reads sockets by 'data' events even where user buffers work. */
  readonly userBuffers?: boolean;
}

/** What a sidecar takes from outside itself; tests give their own. */
export interface SidecarDependencies {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** In place of what `dns` says. */
  readonly resolver?: Resolver;
}
