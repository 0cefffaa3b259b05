// One end of a chain: node undici.ts JSON
import { Pool } from 'undici';
import { identityOf, readOptions, serve } from './listen.ts';

/** Of one hop only: not handed on. */
const HOP = new Set(['connection', 'keep-alive', 'transfer-encoding', 'upgrade', 'expect']);

const options = readOptions();
const { serverName, target } = options;
const pool =
  serverName === undefined
    ? new Pool(`http://127.0.0.1:${target}`)
    : new Pool(`https://127.0.0.1:${target}`, {
        allowH2: false,
        connect: { servername: serverName, maxCachedSessions: 0, ...identityOf(options) },
      });

serve(options, (request, response) => {
  const { method = 'GET', url: path = '/', rawHeaders } = request;
  const hasBody = request.headers['content-length'] !== undefined || request.headers['transfer-encoding'] !== undefined;
  pool
    .stream(
      {
        method: method as 'GET',
        path,
        headers: endToEnd(rawHeaders),
        body: hasBody ? request : null,
        opaque: response,
      },
      ({ statusCode, headers }) => {
        response.writeHead(statusCode, Object.fromEntries(Object.entries(headers).filter(([name]) => !HOP.has(name))));
        return response;
      },
    )
    .catch(() => response.destroy());
});

function endToEnd(raw: readonly string[]): string[] {
  const kept: string[] = [];
  for (let i = 0; i < raw.length; i += 2) {
    const [name = '', value = ''] = [raw[i], raw[i + 1]];
    if (!HOP.has(name.toLowerCase())) kept.push(name, value);
  }
  return kept;
}
