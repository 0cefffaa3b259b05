import { SidelockError } from '../base/errors.ts';
import { type JoinTokenClaims, readJoinToken } from '../pki/join-token.ts';

/**
 * What a sidecar reads of its token before the first contact: where the manager is (`addr`) and which root
 * it must show (`root`). The signature is for the manager to check: nothing here proves who made the token.
 * @throws SidelockError SL-TOK-001 for anything that is no token of ours.
 */
export function decodeToken(token: string): { readonly claims: JoinTokenClaims } {
  const { claims } = readJoinToken(token.trim());
  if (URL.parse(claims.addr)?.protocol !== 'https:') {
    throw new SidelockError('SL-TOK-001', 'the join token is not valid', {
      why: 'the manager address in it is not an https URL',
    });
  }
  return { claims };
}
