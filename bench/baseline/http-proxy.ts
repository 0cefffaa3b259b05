// One end of a chain: node http-proxy.ts JSON
import { Agent } from 'node:http';
import { Agent as TlsAgent } from 'node:https';
import httpProxy from 'http-proxy';
import { identityOf, readOptions, serve } from './listen.ts';

const options = readOptions();
const { serverName, target } = options;
const proxy =
  serverName === undefined
    ? httpProxy.createProxyServer({ target: `http://127.0.0.1:${target}`, agent: new Agent({ keepAlive: true }) })
    : httpProxy.createProxyServer({
        target: `https://127.0.0.1:${target}`,
        agent: new TlsAgent({ keepAlive: true, servername: serverName, maxCachedSessions: 0, ...identityOf(options) }),
      });
proxy.on('error', (_error, _request, response) => response.destroy());
serve(options, (request, response) => proxy.web(request, response));
