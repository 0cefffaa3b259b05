import { STREAMS_PROTOCOL } from './mux/alpn.ts';
import type { Protocol } from './options.ts';

interface Spoken {
  readonly protocol: Protocol;
  readonly alpn?: readonly string[] | undefined;
}

/** What an inbound answers to the protocols a caller offers in its handshake (RFC 7301). */
export interface ServerAlpn {
  /** For TLSSocket. Undefined where nothing is agreed on. Its undefined refuses the caller by alert. */
  readonly choose: ((offer: { readonly protocols: readonly string[] }) => string | undefined) | undefined;
  /** Whether a caller may go on with what was agreed; false: nothing was. */
  permits(agreed: string | false | null): boolean;
}

/**
 * A caller that does not know us must not be refused for what it offers unless we know that it cannot be served: it
 * gets what it would use with a server that says nothing, HTTP/1.1, or else its first wish. Where the app's protocols
 * are known, a caller has to name one of them: whoever says nothing could be talking to another parser (ALPACA,
 * CVE-2021-3618), and Node lets it in.
 */
export function serverAlpn({ protocol, alpn }: Spoken, streams: boolean): ServerAlpn {
  const ours = streams && protocol !== 'http2' ? [STREAMS_PROTOCOL] : [];
  const demanded = protocol === 'http2' ? ['h2'] : alpn;
  if (demanded !== undefined) {
    const known = [...ours, ...demanded];
    return {
      choose: ({ protocols }) => known.find((one) => protocols.includes(one)),
      permits: (agreed) => typeof agreed === 'string',
    };
  }
  const known = protocol === 'http' ? [...ours, 'http/1.1', 'h2'] : [...ours, 'http/1.1'];
  return {
    choose:
      streams || protocol === 'http'
        ? ({ protocols }) => known.find((one) => protocols.includes(one)) ?? protocols[0]
        : undefined,
    permits: () => true,
  };
}

/** What an outbound offers, and what it takes for an answer. */
export interface ClientAlpn {
  readonly offer: readonly string[];
  /** Whether the peer has to agree; else it may be older than ALPN, or say nothing. */
  readonly demands: boolean;
}

export function clientAlpn({ protocol, alpn }: Spoken, streams: boolean): ClientAlpn {
  // It shares connections by itself.
  if (protocol === 'http2') return { offer: ['h2'], demands: true };
  return { offer: [...(streams ? [STREAMS_PROTOCOL] : []), ...(alpn ?? [])], demands: alpn !== undefined };
}
