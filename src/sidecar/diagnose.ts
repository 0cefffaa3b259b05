import { lookup } from 'node:dns/promises';
import { isIP, type Socket } from 'node:net';
import { connect, createSecureContext, type TLSSocket } from 'node:tls';
import { type Clock, SECOND } from '../base/clock.ts';
import { type ErrorCode, nodeCode } from '../base/errors.ts';
import { formatAddress } from '../base/listen.ts';
import type { TrustBundle } from '../pki/bundle.ts';
import { type Certificate, parseCertificate } from '../pki/certificate.ts';
import type { IdentityMaterial } from '../pki/material.ts';
import { verifyPeer } from '../pki/peer.ts';
import { peerChain } from '../pki/peer-chain.ts';
import { shortKeyId, span, utc } from '../pki/text.ts';
import { compileAllow, expand } from './authorize.ts';
import { type DialFailure, dial } from './dial.ts';
import { explainDial } from './explain-tls.ts';
import { classify, explain, type HandshakeReason } from './handshake.ts';
import { STREAMS_PROTOCOL } from './mux/alpn.ts';
import type { HostPort } from './options.ts';
import { contextOptions } from './tls.ts';

interface DiagnoseOptions {
  readonly target: HostPort;
  /** What we show; nothing unless given. */
  readonly material?: IdentityMaterial | undefined;
  /** What the server is judged by; that of `material` unless given. */
  readonly bundle?: TrustBundle | undefined;
  /** Patterns of whom we expect; anybody of the trust domain unless given. */
  readonly expect?: readonly string[] | undefined;
  readonly trustDomain: string;
  readonly namespace: string;
  /** For the connect, and for the handshake, ms. */
  readonly timeoutMs: number;
  /** What the refusing side said by way of the manager, after a refusal without a word by this SPIFFE id. */
  readonly askWhy?: ((by: string) => Promise<Fault | undefined>) | undefined;
  readonly clock: Clock;
}

interface Fault {
  readonly reason: string;
  readonly code: ErrorCode;
  readonly sentence: string;
  readonly fix: string;
}

/** One step of a handshake, and what is wrong with it. */
export interface DiagnosisStep {
  readonly step: 'dns' | 'tcp' | 'tls' | 'server' | 'ours' | 'policy';
  readonly state: 'ok' | 'warning' | 'failed';
  /** One line. */
  readonly text: string;
  /** More to know, a line each. */
  readonly details?: readonly string[];
  readonly fault?: Fault;
}

/** A server of TLS 1.3 judges us after our side is done: this long it may take to hang up. */
const SETTLE_MS = SECOND;

/** Walks the steps of a call to an mTLS port and says of each how it went. Ends at the first that bars the next. */
export async function* diagnose(options: DiagnoseOptions): AsyncGenerator<DiagnosisStep> {
  const { target } = options;
  const found = await resolve(target.host);
  if (found.length === 0) {
    const fault = explainDial('dns');
    yield { step: 'dns', state: 'failed', text: `${target.host}: ${fault.sentence}`, fault };
    return;
  }
  yield {
    step: 'dns',
    state: 'ok',
    text: isIP(target.host) === 0 ? `${target.host}: ${found.join(', ')}` : target.host,
  };

  const first = await shake(options, true, true);
  if (first.dial !== undefined) {
    const fault = explainDial(first.dial.reason);
    const text = `${formatAddress(target)}: ${fault.sentence} (${first.dial.system})`;
    yield { step: 'tcp', state: 'failed', text, fault };
    return;
  }
  yield { step: 'tcp', state: 'ok', text: `connected in ${first.connectMs.toFixed(1)} ms` };

  const refused = first.failed === 'alpn_mismatch';
  const made = refused ? await shake(options, true, false) : first;
  if (made.dial !== undefined || made.failed !== undefined || made.socket === undefined) {
    yield failed('tls', made.failed ?? 'closed_in_handshake');
    return;
  }
  const { socket } = made;
  try {
    yield tlsStep(socket, refused);
    const chain = peerChain(socket);
    const server = serverStep(chain, options);
    yield server;
    const own = ownStep(options);
    if (own !== undefined) yield own;
    const [bare, end] = await Promise.all([shake(options, false, false), made.end]);
    yield demandStep(bare, bare.end === undefined ? undefined : await bare.end);
    if (options.material !== undefined) yield await policyStep(end, server.id, options);
    bare.socket?.destroy();
  } finally {
    socket.destroy();
  }
}

async function resolve(host: string): Promise<string[]> {
  const name = host.replace(/^\[|\]$/g, '');
  return await lookup(name, { all: true }).then(
    (all) => all.map(({ address }) => address),
    () => [],
  );
}

/** How a connection went on after its handshake: `open` when it stayed, else what ended it. */
type End = 'open' | HandshakeReason;

interface Shaken {
  readonly dial?: DialFailure;
  readonly connectMs: number;
  readonly failed?: HandshakeReason;
  readonly socket?: TLSSocket;
  readonly end?: Promise<End>;
}

function shake(options: DiagnoseOptions, show: boolean, offer: boolean): Promise<Shaken> {
  const { target, material, bundle, timeoutMs } = options;
  const began = performance.now();
  return new Promise((settle) => {
    const raw: Socket = dial(target, timeoutMs, (failure) => {
      const connectMs = performance.now() - began;
      if (failure !== undefined) return settle({ dial: failure, connectMs });
      const context =
        show && material !== undefined
          ? contextOptions(material, 'TLSv1.3')
          : { ca: (bundle ?? material?.bundle)?.pem ?? [], minVersion: 'TLSv1.3' as const };
      const socket = connect({
        socket: raw,
        secureContext: createSecureContext(context),
        ...(isIP(target.host) === 0 ? { servername: target.host } : {}),
        ...(offer ? { ALPNProtocols: [STREAMS_PROTOCOL] } : {}),
        rejectUnauthorized: false,
        checkServerIdentity: () => undefined,
      });
      const fail = (failed: HandshakeReason) => {
        clearTimeout(timer);
        socket.destroy();
        settle({ connectMs, failed });
      };
      const broke = (error?: Error) => fail(classify({ direction: 'outbound', error, bytesRead: raw.bytesRead }));
      const closed = () => broke();
      const timer = setTimeout(() => fail('handshake_timeout'), timeoutMs);
      socket.on('error', () => {});
      socket.once('error', broke).once('close', closed);
      socket.once('secureConnect', () => {
        clearTimeout(timer);
        socket.off('error', broke).off('close', closed);
        settle({ connectMs, socket, end: endOf(socket) });
      });
    });
  });
}

function endOf(socket: TLSSocket): Promise<End> {
  return new Promise((settle) => {
    const timer = setTimeout(() => settle('open'), SETTLE_MS);
    const ended = (error?: Error) => {
      clearTimeout(timer);
      const told = nodeCode(error)?.startsWith('ERR_SSL_') === true;
      settle(told ? classify({ direction: 'outbound', error, bytesRead: 1 }) : 'closed_after_handshake');
    };
    const open = () => {
      clearTimeout(timer);
      settle('open');
    };
    socket
      .once('error', ended)
      .once('end', ended)
      .once('close', () => ended())
      .once('data', open);
  });
}

function failed(step: DiagnosisStep['step'], reason: HandshakeReason, detail?: string): DiagnosisStep {
  const fault = { reason, ...explain(reason, detail) };
  return { step, state: 'failed', text: fault.sentence, fault };
}

function tlsStep(socket: TLSSocket, refusedOffer: boolean): DiagnosisStep {
  const key = socket.getEphemeralKeyInfo();
  const group = key !== null && 'name' in key && typeof key.name === 'string' ? [key.name] : [];
  const facts = [socket.getProtocol() ?? 'unknown version', socket.getCipher().name, ...group];
  const shared = socket.alpnProtocol === STREAMS_PROTOCOL;
  const link = shared
    ? `ALPN ${STREAMS_PROTOCOL}: a sidelock sidecar, many calls share one connection`
    : `${refusedOffer ? 'it wants another ALPN than' : 'no ALPN'} ${STREAMS_PROTOCOL}: a connection for each call`;
  return { step: 'tls', state: 'ok', text: facts.join(', '), details: [link] };
}

function serverStep(
  chain: readonly Buffer[],
  { material, bundle = material?.bundle, expect, trustDomain, namespace, clock }: DiagnoseOptions,
): DiagnosisStep & { readonly id: string | undefined } {
  const leaf = readLeaf(chain[0]);
  const id = leaf?.spiffeId?.uri;
  const details = leaf === undefined ? [] : leafFacts(leaf);
  if (bundle === undefined) {
    const text = `${id ?? leaf?.subject ?? 'it'} is not judged: without --identity, --config or --ca there is no root to judge by`;
    return { step: 'server', state: 'warning', text, details, id };
  }
  const verdict = verifyPeer({ chain, bundle, now: clock.now(), purpose: 'server', trustDomain });
  if (!verdict.ok) {
    const roots = bundle.keyIds.map((keyId) => shortKeyId(keyId)).join(', ');
    const ours = `our bundle has the root${bundle.keyIds.length === 1 ? '' : 's'} ${roots}`;
    return { ...failed('server', `peer_${verdict.reason}`, verdict.detail), details: [...details, ours], id };
  }
  const place = { trustDomain, namespace };
  if (expect !== undefined && compileAllow(expect, place)(verdict.spiffeId) === undefined) {
    const names = expect.map((pattern) => expand(pattern, place)).join(', ');
    return { ...failed('server', 'peer_wrong_identity', `it is ${id}, expected ${names}`), details, id };
  }
  return { step: 'server', state: 'ok', text: `${id}`, details, id };
}

function readLeaf(der: Buffer | undefined): Certificate | undefined {
  try {
    return der === undefined ? undefined : parseCertificate(der);
  } catch {
    return undefined;
  }
}

function leafFacts({ serial, issuer, aki, notBefore, notAfter }: Certificate): string[] {
  return [
    `serial ${serial}, issued by ${issuer}, key id ${shortKeyId(aki)}`,
    `valid ${utc(notBefore)} to ${utc(notAfter)}`,
  ];
}

function ownStep({ material, clock }: DiagnoseOptions): DiagnosisStep | undefined {
  if (material === undefined) return undefined;
  const { leaf, spiffeId } = material;
  const now = clock.now();
  const details = leafFacts(leaf);
  if (now <= leaf.notAfter) return { step: 'ours', state: 'ok', text: spiffeId.uri, details };
  const sentence = `our certificate expired ${span(now - leaf.notAfter)} ago`;
  const fix = 'look at the renewals of this sidecar (/readyz), or enrol again: sidelock token create SERVICE';
  return {
    step: 'ours',
    state: 'failed',
    text: sentence,
    details,
    fault: { reason: 'own_expired', code: 'SL-CERT-001', sentence, fix },
  };
}

/** What the server did with a caller that showed nothing. */
function demandStep({ dial: unreached, failed: broken }: Shaken, end: End | undefined): DiagnosisStep {
  if (unreached === undefined && broken === undefined && end === 'open') {
    const sentence = 'it lets in callers without a certificate: this is TLS, not mutual TLS';
    const fix = 'use the mTLS port of its sidecar, or let the server demand client certificates';
    const fault = { reason: 'not_demanded', code: 'SL-TLS-005', sentence, fix } as const;
    return { step: 'policy', state: 'warning', text: sentence, fault };
  }
  return { step: 'policy', state: 'ok', text: 'it demands a client certificate' };
}

async function policyStep(
  end: End | undefined,
  by: string | undefined,
  { askWhy }: DiagnoseOptions,
): Promise<DiagnosisStep> {
  if (end === 'open') return { step: 'policy', state: 'ok', text: 'it accepts ours' };
  if (end !== undefined && end !== 'closed_after_handshake') return failed('policy', end);
  const told = by === undefined ? undefined : await askWhy?.(by);
  if (told !== undefined) return { step: 'policy', state: 'failed', text: told.sentence, fault: told };
  const page = explain('closed_after_handshake', undefined);
  const sentence = 'it hung up before a byte: it refuses our certificate, does not allow us, or its app is down';
  return {
    step: 'policy',
    state: 'failed',
    text: sentence,
    fault: { ...page, reason: 'closed_after_handshake', sentence },
  };
}
