import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { formatAddress, listen } from '../base/listen.ts';

interface DemoApp extends AsyncDisposable {
  readonly address: AddressInfo;
}

/** A service that knows nothing of TLS: it answers each request with what it saw of it. */
export async function startDemoApp(
  name: string,
  at: { readonly host: string; readonly port: number },
): Promise<DemoApp> {
  const server = createServer((request, response) => {
    request.on('error', () => {});
    response.on('error', () => {});
    const { remoteAddress = '', remotePort = 0 } = request.socket;
    const saw = {
      service: name,
      method: request.method,
      path: request.url,
      scheme: 'http',
      from: formatAddress({ host: remoteAddress, port: remotePort }),
    };
    response.setHeader('content-type', 'application/json');
    response.end(`${JSON.stringify(saw)}\n`);
  });
  const address = await listen(server, at, `the app of ${name}`);
  return {
    address,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
