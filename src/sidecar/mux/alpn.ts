/** By this name two sidelock sidecars agree to carry streams over one connection. */
export const STREAMS_PROTOCOL = 'sidelock/1';

/**
 * A server's choice among the protocols a caller offers. Node can only choose or refuse, and a caller that does not
 * know us must not be refused for what it offers: it gets what it would use with a server that says nothing, HTTP/1.1,
 * or else its first wish, which the app behind us then has to speak.
 */
export function chooseProtocol({ protocols }: { readonly protocols: readonly string[] }): string | undefined {
  return [STREAMS_PROTOCOL, 'http/1.1'].find((known) => protocols.includes(known)) ?? protocols[0];
}
