import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { SidelockError } from '../base/errors.ts';
import type { InventoryEntry } from '../manager/inventory.ts';
import type { Manager } from '../manager/manager.ts';
import { certificatesFromPem } from '../pki/certificate.ts';
import { certsOnly } from '../pki/pkcs7.ts';

interface EstOptions {
  readonly devices: Manager['devices'];
  /** Certificates of the connection, leaf first. */
  readonly chainOf: (request: FastifyRequest) => readonly Buffer[];
  /** Runs what a token permits, or a leaf, within the limits of the API. */
  readonly byToken: (request: FastifyRequest, work: () => Promise<InventoryEntry>) => Promise<InventoryEntry>;
  readonly byLeaf: (request: FastifyRequest, work: () => Promise<InventoryEntry>) => Promise<InventoryEntry>;
}

const BASE = '/.well-known/est';

/**
 * Enrolment over Secure Transport (RFC 7030) for devices: a join token as the password of HTTP Basic for the first
 * certificate, the certificate of the connection for the next. Of a request the key is taken, names come from who asks.
 */
export function estRoutes(app: FastifyInstance, { devices, chainOf, byToken, byLeaf }: EstOptions): void {
  app.addContentTypeParser('application/pkcs10', { parseAs: 'string' }, (_request, body, done) => done(null, body));

  app.get(`${BASE}/cacerts`, async (_request, reply) => {
    return send(reply, await devices.caCertificates(), 'everything');
  });
  app.post(`${BASE}/simpleenroll`, async (request, reply) => {
    const token = passwordOf(request);
    if (token === undefined) {
      void reply.header('www-authenticate', 'Basic realm="est", charset="UTF-8"');
      throw new SidelockError('SL-TOK-001', 'a device shows a join token as the password of HTTP Basic', {
        why: 'none was sent',
        fix: 'sidelock device token NAME',
      });
    }
    const csr = csrOf(request);
    const remote = request.socket.remoteAddress ?? 'unknown';
    const { pem } = await byToken(request, () => devices.enroll({ token, csr, remote }));
    return send(reply, pem, 'the leaf');
  });
  app.post(`${BASE}/simplereenroll`, async (request, reply) => {
    const csr = csrOf(request);
    const remote = request.socket.remoteAddress ?? 'unknown';
    const { pem } = await byLeaf(request, () => devices.renew({ chain: chainOf(request), csr, remote }));
    return send(reply, pem, 'the leaf');
  });
}

function send(reply: FastifyReply, pem: string, what: 'everything' | 'the leaf'): string {
  const certificates = certificatesFromPem(pem, 'the answer');
  void reply.header('content-type', 'application/pkcs7-mime; smime-type=certs-only');
  void reply.header('content-transfer-encoding', 'base64');
  const der = certsOnly(what === 'everything' ? certificates : certificates.slice(0, 1));
  return der.toString('base64').replace(/.{1,76}/g, '$&\r\n');
}

function passwordOf({ headers: { authorization = '' } }: FastifyRequest): string | undefined {
  const encoded = /^basic ([A-Za-z0-9+/]+={0,2})$/i.exec(authorization)?.[1];
  return encoded === undefined ? undefined : /^[^:]*:(.+)$/s.exec(Buffer.from(encoded, 'base64').toString())?.[1];
}

/** Base64 of the DER, with or without lines; what is not strictly DER is refused by whoever reads it. */
function csrOf({ body }: FastifyRequest): Buffer {
  const text = typeof body === 'string' ? body.replace(/\s+/g, '') : '';
  const der = Buffer.from(text, 'base64');
  if (der.length > 0 && der.toString('base64') === text) return der;
  throw new SidelockError('SL-CSR-001', 'the request is not base64 of a PKCS#10', {
    why: 'application/pkcs10 is base64 of the DER, without a BEGIN line (RFC 7030 4.2.1)',
    fix: 'openssl req -in device.csr -outform DER | openssl base64 -e',
  });
}
