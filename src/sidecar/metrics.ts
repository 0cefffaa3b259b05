import type { Metrics } from '../base/metrics.ts';
import { readPath } from './node-internals.ts';

/** What ended a connection; metric label and log field. */
export const CLOSE_REASONS = ['done', 'error', 'idle', 'lifetime', 'drain', 'reauth', 'denied', 'memory'] as const;
export type CloseReason = (typeof CLOSE_REASONS)[number];

export type Direction = 'inbound' | 'outbound';

const HANDSHAKE_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5];

const FLUSH_BUCKETS = [64, 256, 1024, 4096, 16_384, 65_536, 262_144];
const REQUEST_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60];

/** All handles of the data plane. Label values are listener names from the config and closed unions, never a peer. */
export function dataPlaneMetrics(metrics: Metrics) {
  const listener = ['direction', 'listener'] as const;
  metrics
    .gauge('sidelock_read_path_info', 'Which way of reading sockets is active: 1 for the one in use.', ['path'], 'max')
    .with({ path: readPath() }).value = 1;
  return {
    handshakes: metrics.counter('sidelock_handshakes_total', 'mTLS handshakes by result and closed reason.', [
      ...listener,
      'result',
      'reason',
    ]),
    handshakeSeconds: metrics.histogram(
      'sidelock_handshake_duration_seconds',
      'From TCP accept or connect to a judged peer.',
      HANDSHAKE_BUCKETS,
      listener,
    ),
    resumed: metrics.counter(
      'sidelock_handshakes_resumed_total',
      'Of the handshakes that went well, those that resumed an earlier connection.',
      listener,
    ),
    connections: metrics.gauge('sidelock_connections', 'Connections relayed now.', [...listener, 'tls']),
    opened: metrics.counter('sidelock_connections_total', 'Connections relayed since start.', [...listener, 'tls']),
    closed: metrics.counter('sidelock_connections_closed_total', 'Relayed connections that ended, by reason.', [
      ...listener,
      'reason',
    ]),
    bytes: metrics.counter('sidelock_connection_bytes_total', 'Bytes relayed; rx came from the peer, tx went to it.', [
      ...listener,
      'way',
    ]),
    refused: metrics.counter(
      'sidelock_connections_refused_total',
      'Connections refused for want of room or of an identity.',
      [...listener, 'reason'],
    ),
    refusedByPeer: metrics.counter(
      'sidelock_refused_by_peer_total',
      'Refusals of our own certificate that peers reported, by the closed reason they gave.',
      ['direction', 'reason'],
    ),
    authz: metrics.counter(
      'sidelock_authz_total',
      'Decisions on connections of verified callers, and on requests where method or path count.',
      ['listener', 'result', 'reason'],
    ),
    audits: metrics.gauge(
      'sidelock_policy_audit',
      '1 where policy is audit: what allow refuses is let through.',
      ['listener'],
      'max',
    ),
    permissive: metrics.gauge(
      'sidelock_permissive',
      '1 where mode is permissive: callers without TLS are served.',
      ['listener'],
      'max',
    ),
    targetErrors: metrics.counter(
      'sidelock_target_errors_total',
      'Connects to the app behind an inbound that failed.',
      ['listener', 'reason'],
    ),
    upstreamErrors: metrics.counter('sidelock_upstream_errors_total', 'Connects to a peer that failed before TLS.', [
      'listener',
      'reason',
    ]),
    endpoints: metrics.gauge(
      'sidelock_endpoints',
      'Endpoints of an outbound, by whether they are given anything.',
      ['listener', 'state'],
      'max',
    ),
    ejections: metrics.counter('sidelock_endpoint_ejections_total', 'Endpoints that were left out for a while.', [
      'listener',
      'reason',
    ]),
    connectRetries: metrics.counter(
      'sidelock_connect_retries_total',
      'Connects to another endpoint after one failed, with nothing sent.',
      ['listener'],
    ),
    upstreamLimited: metrics.counter(
      'sidelock_upstream_limited_total',
      'Connections and requests of an outbound that were refused for its limits.',
      ['listener', 'limit'],
    ),
    dnsLookups: metrics.counter('sidelock_dns_lookups_total', 'Questions for the names of an outbound, by result.', [
      'listener',
      'result',
    ]),
    links: metrics.gauge('sidelock_links', 'mTLS connections to peers now: own for one caller, or shared by streams.', [
      ...listener,
      'kind',
    ]),
    linksClosed: metrics.counter('sidelock_links_closed_total', 'Shared connections that ended, by reason.', [
      ...listener,
      'reason',
    ]),
    linkAge: metrics.gauge(
      'sidelock_link_age_seconds_max',
      'Age of the oldest mTLS connection to a peer.',
      [...listener, 'kind'],
      'max',
    ),
    linkStreams: metrics.gauge('sidelock_link_streams', 'Streams open on shared connections now.', listener),
    linkWindow: metrics.gauge(
      'sidelock_link_window_bytes',
      'What peers may send on the open streams before we take more: the sum of their windows.',
      listener,
    ),
    linkHeld: metrics.gauge(
      'sidelock_link_held_bytes',
      'Bytes that came on streams and wait because the reader does not take them.',
      listener,
    ),
    frames: metrics.counter('sidelock_link_frames_total', 'Frames on shared connections; rx came from the peer.', [
      ...listener,
      'way',
    ]),
    flushBytes: metrics.histogram(
      'sidelock_link_flush_bytes',
      'Bytes that left a shared connection in one write.',
      FLUSH_BUCKETS,
      listener,
    ),
    requests: metrics.counter('sidelock_requests_total', 'HTTP requests that ended, by class of their status.', [
      ...listener,
      'method',
      'code_class',
    ]),
    requestSeconds: metrics.histogram(
      'sidelock_request_duration_seconds',
      'From the head of a request to the end of its response.',
      REQUEST_BUCKETS,
      listener,
    ),
    httpRejected: metrics.counter(
      'sidelock_http_rejected_total',
      'Requests, and with response_ responses, that broke the rules of HTTP or came too slowly.',
      ['reason'],
    ),
    http2Closed: metrics.counter(
      'sidelock_http2_closed_total',
      'HTTP/2 connections closed for what their other side sent, by reason.',
      [...listener, 'reason'],
    ),
    httpUpstreams: metrics.gauge('sidelock_http_upstreams', 'Open connections that HTTP requests share.', listener),
    contexts: metrics.counter('sidelock_tls_contexts_built_total', 'TLS contexts built: one a role and generation.', [
      'role',
    ]),
  };
}

export type DataPlaneMetrics = ReturnType<typeof dataPlaneMetrics>;
