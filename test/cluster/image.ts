import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { path } from './state.ts';

interface ImageContent {
  /** Files and directories of this machine by their path in the image. */
  readonly files: Readonly<Record<string, string>>;
  /** What runs when the pod says nothing; a pod's args are appended. */
  readonly command: readonly string[];
}

/** An image without registry or engine: an OCI layout with one layer. Returns its archive, the caller's to remove. */
export function makeImage(name: string, { files, command }: ImageContent): string {
  const work = mkdtempSync(join(tmpdir(), 'sidelock-image-'));
  try {
    const root = join(work, 'root');
    for (const [to, from] of Object.entries(files)) {
      mkdirSync(join(root, dirname(to)), { recursive: true });
      cpSync(from, join(root, to), { recursive: true, dereference: true });
    }
    mkdirSync(join(root, 'tmp'), { recursive: true, mode: 0o777 });
    const blobs = join(work, 'oci/blobs/sha256');
    mkdirSync(blobs, { recursive: true });
    const layerFile = join(work, 'layer.tar');
    execFileSync('tar', ['--owner=0', '--group=0', '--numeric-owner', '-C', root, '-cf', layerFile, '.']);
    const put = (data: Buffer | object, mediaType: string) => {
      const bytes = Buffer.isBuffer(data) ? data : Buffer.from(JSON.stringify(data));
      const digest = createHash('sha256').update(bytes).digest('hex');
      writeFileSync(join(blobs, digest), bytes);
      return { mediaType, digest: `sha256:${digest}`, size: bytes.length };
    };
    const layer = put(readFileSync(layerFile), 'application/vnd.oci.image.layer.v1.tar');
    const config = put(
      {
        architecture: process.arch === 'x64' ? 'amd64' : process.arch,
        os: 'linux',
        config: { Entrypoint: command, Env: ['PATH=/usr/local/bin:/bin'] },
        rootfs: { type: 'layers', diff_ids: [layer.digest] },
      },
      'application/vnd.oci.image.config.v1+json',
    );
    const manifest = put({ schemaVersion: 2, config, layers: [layer] }, 'application/vnd.oci.image.manifest.v1+json');
    const annotations = { 'io.containerd.image.name': name };
    const index = { schemaVersion: 2, manifests: [{ ...manifest, annotations }] };
    writeFileSync(join(work, 'oci/index.json'), JSON.stringify(index));
    writeFileSync(join(work, 'oci/oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
    const archive = path(`image-${manifest.digest.slice(7, 19)}.tar`);
    execFileSync('tar', ['-C', join(work, 'oci'), '-cf', archive, '.']);
    return archive;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Gives the image to the node; pods use it by its name and pull nothing. */
export function importImage(programs: string, archive: string): void {
  const args = ['--address', path('containerd.sock'), '--namespace', 'k8s.io', 'images', 'import', archive];
  execFileSync(join(programs, 'ctr'), args, { stdio: ['ignore', 'ignore', 'pipe'] });
  rmSync(archive);
}
