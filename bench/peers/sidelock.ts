import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SIDECAR } from '../bundle.ts';
import type { LeafFiles } from '../material.ts';
import type { Running, Start } from '../process.ts';
import type { EndContext, Program } from './peer.ts';

/** A sidecar of the bundle that the image ships, with its identity from a directory. */
export const sidelock = withStreams('on');

/** The same as any other peer would meet it: a connection for each caller. */
export const sidelockOwn = withStreams('off');

function withStreams(streams: 'on' | 'off'): Program {
  return {
    version: () => 'this tree',
    server: (context) =>
      startSidecar({ ...context, identity: context.material.server, settings: { streams, ...inbound(context) } }),
    client: (context) =>
      startSidecar({ ...context, identity: context.material.client, settings: { streams, ...outbound(context) } }),
  };
}

interface SidecarOptions {
  readonly directory: string;
  readonly identity: LeafFiles;
  /** What its config has besides. */
  readonly settings: object;
  /** The one of its ports that it is waited for. */
  readonly port: number;
  readonly start: Start;
}

export async function startSidecar({ directory, identity, settings, port, start }: SidecarOptions): Promise<Running> {
  const file = join(directory, 'sidecar.yaml');
  const config = {
    apiVersion: 'sidelock/v1',
    kind: 'Sidecar',
    identity: { source: 'files', directory: identity.directory },
    admin: { listen: '127.0.0.1:0' },
    ...settings,
  };
  await writeFile(file, JSON.stringify(config));
  return start({ ...SIDECAR, args: [...SIDECAR.args, `--config=${file}`], port });
}

export function inbound({ material, protocol, port, target }: Omit<EndContext, 'directory' | 'start'>) {
  return {
    inbound: [
      {
        listen: `127.0.0.1:${port}`,
        target: `127.0.0.1:${target}`,
        protocol,
        allow: [material.client.spiffeId],
      },
    ],
  };
}

function outbound({ material, protocol, port, target }: EndContext) {
  return {
    outbound: [
      {
        listen: `127.0.0.1:${port}`,
        service: material.serverName,
        address: `127.0.0.1:${target}`,
        protocol,
      },
    ],
  };
}
