import type { demoCall } from './demo-call.ts';
import type { DemoService, Mesh } from './demo-mesh.ts';
import type { Output } from './output.ts';

type Call = Awaited<ReturnType<typeof demoCall>>;

/** `✔ orders   app 127.0.0.1:8080   mTLS 127.0.0.1:8443   spiffe://…` */
export function serviceText({ name, app, mtls, sidecar }: DemoService, { signs, style }: Output): string {
  const id = sidecar.identity()?.spiffeId ?? '';
  return `  ${style('green', signs.ok)} ${name.padEnd(18)} app ${app}   mTLS ${mtls}   ${id}`;
}

/** Each hop, and whom either sidecar met. */
export function callText(
  caller: string,
  called: string,
  call: Call,
  { signs: { plain, tls, to, head }, style }: Output,
): string {
  const { url, status, ms, outbound, inbound } = call;
  const { version, group } = outbound.tls ?? {};
  const secured = `${version?.replace('TLSv', 'TLS ')}${group === undefined ? '' : `, ${group}`}`;
  const plaintext = `${plain}plaintext${plain}${head}`;
  const width = 'sidecar() met '.length + Math.max(caller.length, called.length);
  const met = (name: string) => `sidecar(${name}) met`.padEnd(width);
  return [
    `  ${caller} ${plaintext} sidecar(${caller}) ${tls} ${style('bold', secured)} ${tls}${head} sidecar(${called}) ${plaintext} ${called}`,
    `      GET ${url} ${to} ${status} in ${ms.toFixed(1)} ms`,
    `      ${met(caller)} ${outbound.peer?.id}   serial ${outbound.peer?.serial}`,
    `      ${met(called)} ${inbound.peer?.id}   serial ${inbound.peer?.serial}`,
    `      ${`${called} saw`.padEnd(width)} ${JSON.stringify(call.saw)}\n`,
  ].join('\n');
}

export function callDocument(
  caller: string,
  called: string,
  { url, status, ms, saw, outbound, inbound }: Call,
): object {
  const side = ({ self, peer, tls }: Call['outbound']) => ({ self, peer, tls });
  return { kind: 'DemoCall', caller, called, url, status, ms, saw, outbound: side(outbound), inbound: side(inbound) };
}

interface Edge {
  readonly called: DemoService;
  readonly url: string;
}

/** What to do now, in commands that work from where this was started. */
export function nextText(
  { storage, services }: Mesh,
  edge: Edge | undefined,
  env: Readonly<Record<string, string | undefined>>,
): string {
  const target = edge?.called ?? services[0];
  const program = env['npm_lifecycle_event'] === undefined ? 'sidelock' : 'npm run -s sidelock --';
  const rows: ReadonlyArray<readonly [string, string]> = [
    ...(edge === undefined ? [] : [[`curl ${edge.url}`, 'works: goes through mTLS'] as const]),
    ...(target === undefined
      ? []
      : [
          [`curl -k https://${target.mtls}/hello`, 'refused: no client certificate'] as const,
          [`${program} show ${target.name} --storage ${storage}`, 'the certificate'] as const,
        ]),
  ];
  const width = Math.max(0, ...rows.map(([left]) => left.length));
  const lines = rows.map(
    ([left, right], i) => `  ${(i === 0 ? 'Try it' : '').padEnd(8)}  ${left.padEnd(width)}   ${right}`,
  );
  return [...lines, '  Stop with Ctrl-C (nothing is left behind)'].join('\n');
}
