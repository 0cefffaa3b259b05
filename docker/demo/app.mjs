// A service that knows nothing of TLS. It says who it is and whom it saw; with ASKS it asks another one first.
import { createServer } from 'node:http';

const { NAME = 'app', LISTEN = '127.0.0.1:8080', ASKS } = process.env;
const [host, port] = LISTEN.split(':');

createServer(async (request, response) => {
  const answer = { service: NAME, caller: request.headers['x-forwarded-client-cert'] };
  try {
    if (ASKS !== undefined) answer.asked = await (await fetch(ASKS, { signal: AbortSignal.timeout(5000) })).json();
  } catch (error) {
    response.statusCode = 502;
    answer.failed = String(error);
  }
  response.setHeader('content-type', 'application/json');
  response.end(`${JSON.stringify(answer)}\n`);
}).listen(Number(port), host);

process.on('SIGTERM', () => process.exit(0));
