import type { Socket } from 'node:net';
import { Crowd } from '../base/crowd.ts';
import { readConnectHead } from './connect-head.ts';
import type { DataPlane } from './data-plane.ts';
import { localCaller } from './http1/callers.ts';
import { answerText, type OwnAnswer } from './http1/failures.ts';
import { createHttpListener } from './http1/listener.ts';
import { REJECTIONS, type Rejection } from './http1/reasons.ts';
import type { RelayContext } from './http1/relay-context.ts';
import type { RequestHead } from './http1/request.ts';
import { bindListener, type Listener } from './listener.ts';
import { loopback } from './loopback.ts';
import { DEFAULT_HTTP_LIMITS, type HostPort } from './options.ts';
import { admit, type Outbound } from './outbound.ts';

/** In logs and metrics. */
export const FORWARD_PROXY = 'forward-proxy';

const ESTABLISHED = 'HTTP/1.1 200 Connection established\r\n\r\n';

/**
 * Binds the port for apps that have HTTP_PROXY set: requests for `http://NAME/`, and CONNECT to `NAME:PORT`, lead to the
 * outbound of that name as its own port would, whatever the port. Nothing else is let through: this is no way out.
 * @throws SL-NET-001, SL-NET-002, SL-CFG-003 (not a loopback address)
 */
export async function bindForwardProxy(
  listen: HostPort,
  outbounds: readonly Outbound[],
  plane: DataPlane,
): Promise<Listener> {
  const byName = new Map(outbounds.map((one) => [one.name.toLowerCase(), one]));
  const find = (authority: string) => byName.get(authority.replace(/:\d*$/, '').toLowerCase());
  const refuse = (answer: OwnAnswer, authority: string | undefined): OwnAnswer => {
    plane.metrics.refused.with({ direction: 'outbound', listener: FORWARD_PROXY, reason: answer.reason }).value++;
    plane.refusals.warn(
      `${FORWARD_PROXY} ${answer.reason}`,
      {
        event: 'forward_refused',
        code: answer.code,
        reason: answer.reason,
        listener: FORWARD_PROXY,
        host: authority?.slice(0, 128),
        fix: 'call outbounds by their names, and set NO_PROXY for everything else',
      },
      `the forward proxy refused a request: ${answer.sentence}`,
    );
    return answer;
  };
  const http = createHttpListener(
    {
      direction: 'outbound',
      listener: FORWARD_PROXY,
      idleMs: 0,
      pick: () => undefined,
      open: (_load, done) => done({ ...UNKNOWN, status: 503, reason: 'unreachable' }),
    },
    plane,
  );
  const route = ({ absolute, host }: RequestHead): RelayContext | OwnAnswer => {
    if (!absolute) return refuse(NOT_PROXIED, undefined);
    const outbound = find(host);
    if (outbound === undefined) return refuse(UNKNOWN, host);
    return outbound.requests ?? refuse(NOT_HTTP1, host);
  };
  const serveRequests = (local: Socket) => http.serve({ ...localCaller(local, plane), route });
  const connectTo = (local: Socket, authority: string) => {
    const outbound = find(authority);
    if (outbound === undefined) turnAway(local, refuse(UNKNOWN, authority), plane);
    else {
      outbound.tunnel(local, {
        begun: () => void local.write(ESTABLISHED),
        failed: (answer) => turnAway(local, answer, plane),
      });
    }
  };
  /** Connections that have not said yet what they are. */
  const undecided = new Crowd<Socket>();
  const listener = await bindListener({
    what: 'the forward proxy',
    address: { host: loopback(listen.host, 'forwardProxy.listen', WHY_LOOPBACK), port: listen.port },
    socketMode: undefined,
    pauseOnConnect: true,
    sharing: plane.sharing,
    accept(local) {
      if (!admit(local, FORWARD_PROXY, plane)) return;
      const place = undecided.enter(local);
      readConnectHead(local, plane.limits.http?.headTimeoutMs ?? DEFAULT_HTTP_LIMITS.headTimeoutMs, {
        connect(authority) {
          undecided.leave(place);
          connectTo(local, authority);
        },
        other() {
          undecided.leave(place);
          serveRequests(local);
        },
        refused(reason) {
          undecided.leave(place);
          plane.metrics.httpRejected.with({ reason }).value++;
          turnAway(local, broken(reason), plane);
        },
        left() {
          undecided.leave(place);
          plane.connections.dismiss();
          local.destroy();
        },
      });
    },
  });
  const closing: Listener = {
    ...listener,
    close() {
      listener.close();
      for (const local of undecided) local.destroy();
    },
  };
  // What is kept for outbounds without a port of their own is kept for this one.
  return outbounds.reduce((bound, one) => one.closeWith(bound), http.closeWith(closing));
}

const WHY_LOOPBACK = 'whoever reaches it calls with the identity of this sidecar, so only this machine may';

/** Which names there are is for the config to say, not for whoever asks. */
const UNKNOWN = {
  status: 403,
  reason: 'unknown_upstream',
  code: 'SL-FWD-001',
  sentence: 'this sidecar has no outbound of that name',
} as const;

const NOT_PROXIED: OwnAnswer = {
  status: 400,
  reason: 'not_proxied',
  code: 'SL-FWD-002',
  sentence: 'a forward proxy takes http://NAME/ and CONNECT NAME:PORT',
};

const NOT_HTTP1: OwnAnswer = {
  status: 403,
  reason: 'not_http1',
  code: 'SL-FWD-002',
  sentence: 'that outbound speaks HTTP/2: it takes CONNECT NAME:PORT',
};

function broken(reason: Rejection): OwnAnswer {
  return {
    status: REJECTIONS[reason],
    reason,
    code: 'SL-HTTP-001',
    sentence: 'the request breaks the rules of HTTP/1.1',
  };
}

/** Answers and ends. What still comes is thrown away for a while: a reset could destroy the answer on its way. */
function turnAway(local: Socket, answer: OwnAnswer, plane: DataPlane): void {
  plane.connections.dismiss();
  local.end(answerText(answer, { close: true, withoutBody: false }));
  local.resume();
  const timer = setTimeout(() => local.destroy(), DEFAULT_HTTP_LIMITS.lingerMs).unref();
  local.once('end', () => local.destroySoon());
  local.once('close', () => clearTimeout(timer));
}
