import type { Test } from 'tap';
import { parseBundle } from '../../src/pki/bundle.ts';
import { type PeerPurpose, type PeerReason, verifyPeer } from '../../src/pki/peer.ts';
import type { Party } from './badcert.ts';
import { TRUST_DOMAIN } from './badcert.ts';

const BOTH: readonly PeerPurpose[] = ['client', 'server'];

interface Case {
  /** The certificates as the peer sends them, leaf first. */
  readonly chain: readonly Party[];
  readonly roots: readonly Party[];
  readonly purposes?: readonly PeerPurpose[];
  readonly now?: number;
}

/** Rows of threats.md 4 as subtests; counts what each table showed. */
export interface PeerRows {
  refuses(t: Test, what: string, reason: PeerReason, use: Case, detail?: RegExp): void;
  accepts(t: Test, what: string, use: Case): void;
  /** One row by its id. */
  row(id: string, title: string, run: (t: Test) => void): void;
}

export function peerRows(t: Test, section: string): PeerRows {
  const ids: string[] = [];
  let refused = 0;
  let accepted = 0;
  t.teardown(() =>
    t.comment(
      `threats ${section}: ${ids.length} rows (${ids.join(' ')}), ${refused} refusals, ${accepted} acceptances`,
    ),
  );
  const judge = ({ chain, roots, purposes = BOTH, now = Date.now() }: Case) => {
    const bundle = parseBundle(roots.map(({ pem }) => pem).join(''), 'ca.pem', now);
    const ders = chain.map(({ der }) => der);
    return purposes.map((purpose) => verifyPeer({ chain: ders, bundle, now, purpose, trustDomain: TRUST_DOMAIN }));
  };
  return {
    refuses(test, what, reason, use, detail = /\S/) {
      for (const verdict of judge(use)) {
        test.equal(verdict.ok ? 'accepted' : verdict.reason, reason, `${what}: ${verdict.ok ? '' : verdict.detail}`);
        if (!verdict.ok) test.match(verdict.detail, detail, what);
        refused++;
      }
    },
    accepts(test, what, use) {
      for (const verdict of judge(use)) {
        test.equal(verdict.ok ? 'accepted' : `${verdict.reason}: ${verdict.detail}`, 'accepted', what);
        accepted++;
      }
    },
    row(id, title, run) {
      ids.push(id);
      t.test(`${id} ${title}`, async (test) => run(test));
    },
  };
}
