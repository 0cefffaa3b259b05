/** Guide: "Secure Communication": both sides of an HTTPS call, each proving who it is. */
import { once } from 'node:events';
import { Agent, createServer, request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import type { TLSSocket } from 'node:tls';
import { getMtlsManager, ServiceType } from '../../src/index.ts';

await using mtlsManager = await getMtlsManager();
for (const serviceName of ['ai-conversation-service', 'child-data-service']) {
  await mtlsManager.initializeServiceCertificate({ serviceName, serviceType: ServiceType.API_SERVICE });
}

// Server side
const serverContext = await mtlsManager.getSslContext('child-data-service');
await using server = createServer(serverContext, (incoming, response) => {
  const caller = (incoming.socket as TLSSocket).getPeerX509Certificate();
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify({ caller: caller?.subject }));
});
server.listen(0, '127.0.0.1');
await once(server, 'listening');
const { port } = server.address() as AddressInfo;

// Client side. The name is resolved here by hand; the certificate is checked against it all the same.
const clientContext = await mtlsManager.getSslContext('ai-conversation-service');
const agent = new Agent({
  ...clientContext,
  lookup: (_host, _options, done) => done(null, [{ address: '127.0.0.1', family: 4 }]),
});
const [response] = await once(request(`https://child-data-service:${port}/api/data`, { agent }).end(), 'response');
console.log(await json(response));

// Who shows no certificate gets no answer.
const stranger = request({ host: '127.0.0.1', port, servername: 'child-data-service', ca: clientContext.ca }).end();
const [error] = await once(stranger, 'error').catch((cause: unknown) => [cause]);
console.log(`stranger: ${(error as NodeJS.ErrnoException).code}`);
agent.destroy();
