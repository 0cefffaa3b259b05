import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import type { Test } from 'tap';
import { parseBundle } from '../../src/pki/bundle.ts';
import { verifyCsr } from '../../src/pki/csr.ts';
import { DAY, dns, keyPem, makeLeaf, name, type Party, type Spec, subjectAltName, uri } from './badcert.ts';
import { spiffeIdOf, type TestAuthority } from './identity-files.ts';

/** What the fake answers to a renewal or an enrolment. */
export interface FakeReply {
  readonly status?: number;
  readonly type?: string;
  readonly body: string | Buffer;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Decides the answer to one request; undefined never answers. */
export type Answering = (csr: string) => FakeReply | undefined;

interface FakeOptions {
  /** For dates in answers; the system's unless given. */
  readonly now?: () => number;
  /** Who signed the certificate it shows; the authority unless given. */
  readonly shows?: Party;
}

/**
 * A manager that does as a test says: any answer, none, or not there at all. It shows a good certificate of the
 * manager, so what a sidecar refuses is the answer.
 */
export async function startFakeManager(t: Test, authority: TestAuthority, options: FakeOptions = {}) {
  const { now = Date.now } = options;
  const root = options.shows ?? authority.root;
  const own = makeLeaf(root, {
    subject: name('manager'),
    notBefore: now() - DAY,
    notAfter: now() + 300 * DAY,
    extensions: { san: subjectAltName(uri('spiffe://ai-teddy.local/ns/sidelock-system/sa/manager'), dns('localhost')) },
  });
  const state = {
    /** False: connections are closed at once, as when nothing is there. */
    up: true,
    /** Serial of the next good certificate. */
    next: 0x20000000,
    /** The requests it got, by path. */
    asked: [] as Array<{ path: string; csr: string; token?: string; serial: string | undefined }>,
    open: 0,
    mostOpen: 0,
    connections: 0,
    /** What it trusts. */
    bundle: authority.root.pem,
  };
  const sockets = new Set<Socket>();

  /** A certificate for the key of `csr`, good unless `spec` says otherwise. */
  const sign = (csr: string, spec: Spec = {}, issuer = authority.root): string => {
    const spki = verifyCsr(csr).publicKey.export({ type: 'spki', format: 'der' });
    return makeLeaf(issuer, {
      subject: name('orders'),
      serial: Buffer.from((++state.next).toString(16), 'hex'),
      spki,
      notBefore: now() - 120_000,
      notAfter: now() + 90 * DAY,
      ...spec,
      extensions: { san: subjectAltName(uri(spiffeIdOf('orders')), dns('orders.ai-teddy.local')), ...spec.extensions },
    }).pem;
  };

  const answerWith = (certificate: string, changes: object = {}): FakeReply => ({
    body: JSON.stringify({
      certificate,
      bundle: state.bundle,
      spiffeId: spiffeIdOf('orders'),
      notBefore: now() - 120_000,
      notAfter: now() + 90 * DAY,
      trustDomain: 'ai-teddy.local',
      time: now(),
      ...changes,
    }),
  });

  const good: Answering = (csr) => answerWith(sign(csr));
  let answering: Answering = good;

  const replyTo = async (request: IncomingMessage): Promise<FakeReply | undefined> => {
    if (request.url === '/v1/trust') {
      const bundle = parseBundle(state.bundle, 'ca.pem', now());
      const rootSha256 = bundle.roots.map(({ fingerprint256 }) => fingerprint256);
      const { pem, sha256 } = bundle;
      return { body: JSON.stringify({ bundle: pem, sha256, rootSha256, trustDomain: 'ai-teddy.local', time: now() }) };
    }
    const { csr, token } = JSON.parse(await text(request));
    const { socket } = request;
    const serial =
      'getPeerX509Certificate' in socket && typeof socket.getPeerX509Certificate === 'function'
        ? socket.getPeerX509Certificate()?.serialNumber.toLowerCase()
        : undefined;
    state.asked.push({ path: request.url ?? '', csr, token, serial });
    return answering(csr);
  };

  const server = createServer(
    { cert: own.pem, key: keyPem(own), requestCert: true, rejectUnauthorized: false, minVersion: 'TLSv1.3' },
    (request, response) => {
      replyTo(request).then((reply) => {
        if (reply === undefined) return;
        const { status = 200, type = 'application/json', body, headers = {} } = reply;
        response.writeHead(status, { 'content-type': type, ...headers });
        response.end(body);
      }, t.threw);
    },
  );
  server.on('connection', (socket: Socket) => {
    state.connections++;
    if (!state.up) {
      socket.destroy();
      return;
    }
    sockets.add(socket);
    state.mostOpen = Math.max(state.mostOpen, ++state.open);
    socket.on('error', () => {});
    socket.once('close', () => {
      sockets.delete(socket);
      state.open--;
    });
  });
  server.on('tlsClientError', (_error, socket) => socket.destroy());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(async () => {
    const closed = once(server, 'close');
    server.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  });

  return {
    address: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    state,
    sign,
    answerWith,
    good,
    /** From now on. */
    answer(with_: Answering) {
      answering = with_;
    },
  };
}
