/** The ways a client can come: its protocol at both sidecars. */
export const PROTOCOLS = ['tcp', 'http', 'http2'] as const;
export type Protocol = (typeof PROTOCOLS)[number];

/** Strict, permissive with TLS, and without TLS straight to the permissive port. */
export const ROADS = ['strict', 'permissive', 'plaintext'] as const;
export type Road = (typeof ROADS)[number];

const DATABASE = { http: 'no HTTP', http2: 'no HTTP' } as const;
const BROWSER = { http2: 'speaks HTTP/2 over TLS alone' } as const;

/** Which protocols do not fit a client, and why; in the others it is held by a test, on every road. */
export const MISFITS = {
  curl: {},
  Chromium: BROWSER,
  'Node fetch': BROWSER,
  WebSocket: { http2: 'begins with a request of HTTP/1.1' },
  'gRPC, with streams': { http: 'is HTTP/2' },
  psql: DATABASE,
  'redis-cli': DATABASE,
  mariadb: DATABASE,
} as const satisfies Readonly<Record<string, Readonly<Partial<Record<Protocol, string>>>>>;

export type ClientName = keyof typeof MISFITS;

/** Why a client does not fit a protocol; undefined where it does. */
export function misfit(client: ClientName, protocol: Protocol): string | undefined {
  const reasons: Readonly<Partial<Record<Protocol, string>>> = MISFITS[client];
  return reasons[protocol];
}
