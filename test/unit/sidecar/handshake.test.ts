import t from 'tap';
import { ERROR_PAGES } from '../../../src/base/errors.ts';
import { PEER_REASONS } from '../../../src/pki/peer-reasons.ts';
import { classify, explain } from '../../../src/sidecar/handshake.ts';

const coded = (code: string, more: object = {}) =>
  Object.assign(new Error('text that must not matter'), { code, ...more });

t.test('OpenSSL names an alert by the spelling of its version; the reason is the same', async (t) => {
  const rows = {
    HANDSHAKE_FAILURE: 'peer_handshake_failure',
    CERTIFICATE_EXPIRED: 'peer_says_expired',
    CERTIFICATE_REVOKED: 'peer_says_revoked',
    BAD_CERTIFICATE: 'peer_says_bad',
    UNKNOWN_CA: 'peer_rejects_our_ca',
    CERTIFICATE_REQUIRED: 'peer_requires_certificate',
    PROTOCOL_VERSION: 'version_mismatch',
    NO_APPLICATION_PROTOCOL: 'alpn_mismatch',
  };
  for (const [alert, reason] of Object.entries(rows)) {
    for (const family of ['SSLV3', 'TLSV1', 'TLSV13', 'SSL/TLS']) {
      const error = coded(`ERR_SSL_${family}_ALERT_${alert}`);
      for (const direction of ['inbound', 'outbound'] as const) {
        t.equal(classify({ direction, error, bytesRead: 100 }), reason, `${direction} ${error.code}`);
      }
    }
  }
});

t.test('plaintext is named by who spoke it', async (t) => {
  const error = coded('ERR_SSL_WRONG_VERSION_NUMBER');
  t.equal(classify({ direction: 'inbound', error, bytesRead: 8 }), 'plaintext_other');
  t.equal(classify({ direction: 'outbound', error, bytesRead: 8 }), 'peer_not_tls');
  t.equal(classify({ direction: 'inbound', error: coded('ERR_SSL_HTTP_REQUEST'), bytesRead: 8 }), 'plaintext_http');
});

t.test('leaving is told apart by what arrived and who reset', async (t) => {
  const hangUp = coded('ECONNRESET');
  const reset = coded('ECONNRESET', { errno: -104 });
  t.equal(classify({ direction: 'inbound', error: undefined, bytesRead: 0 }), 'port_probe');
  t.equal(classify({ direction: 'inbound', error: hangUp, bytesRead: 1_588 }), 'client_left');
  t.equal(classify({ direction: 'inbound', error: reset, bytesRead: 1_588 }), 'reset');
  t.equal(classify({ direction: 'outbound', error: hangUp, bytesRead: 0 }), 'closed_in_handshake');
  t.equal(classify({ direction: 'outbound', error: reset, bytesRead: 0 }), 'reset');
  t.equal(classify({ direction: 'inbound', error: coded('ERR_SSL_SOMETHING_NEW'), bytesRead: 9 }), 'tls_error');
});

t.test('every reason of the chain has a sentence, a fix and a code that exists', async (t) => {
  for (const reason of PEER_REASONS) {
    for (const side of ['client', 'peer'] as const) {
      const page = explain(`${side}_${reason}`, undefined);
      t.ok(page.sentence.length > 0 && page.fix.length > 0 && page.code in ERROR_PAGES, `${side}_${reason}`);
      t.equal(explain(`${side}_${reason}`, 'as found').sentence, 'as found');
    }
  }
  t.match(explain('openssl_refused', 'CERT_REVOKED').sentence, /refused the chain: CERT_REVOKED/);
});
