import { get } from 'node:http';

/** The body of one answer, on a connection of its own. Rejects for a status that is not 200, or after 10 s. */
export function fetchBody(port: number, path: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const request = get({ agent: false, host: '127.0.0.1', port, path, timeout: 10_000 }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        if (response.statusCode === 200) resolve(Buffer.concat(chunks));
        else reject(new Error(`the answer to ${path} has status ${response.statusCode}`));
      });
      response.on('error', reject);
    });
    request.on('error', reject);
    request.on('timeout', () => request.destroy(new Error(`no answer on port ${port} within 10 s`)));
  });
}
