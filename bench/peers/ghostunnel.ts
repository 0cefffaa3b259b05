import type { LeafFiles, Material } from '../material.ts';
import { programPath, programVersion } from '../programs.ts';
import type { Program } from './peer.ts';

/** ghostunnel, which reads no HTTP and stands beside it as TCP, with its access control by SPIFFE id on both sides. */
export const ghostunnel: Program = {
  version: () => programVersion('ghostunnel', ['--version']),
  server: ({ material, port, target, start }) =>
    start({
      command: programPath('ghostunnel'),
      args: [
        'server',
        `--listen=127.0.0.1:${port}`,
        `--target=127.0.0.1:${target}`,
        `--allow-uri=${material.client.spiffeId}`,
        ...identity(material, material.server),
      ],
      port,
    }),
  client: ({ material, port, target, start }) =>
    start({
      command: programPath('ghostunnel'),
      args: [
        'client',
        `--listen=127.0.0.1:${port}`,
        `--target=127.0.0.1:${target}`,
        `--override-server-name=${material.serverName}`,
        `--verify-uri=${material.server.spiffeId}`,
        ...identity(material, material.client),
      ],
      port,
    }),
};

function identity({ ca }: Material, { cert, key }: LeafFiles): readonly string[] {
  return [`--cert=${cert}`, `--key=${key}`, `--cacert=${ca}`, '--quiet=all'];
}
