// npm's oidc-provider as a tenant: one public client, two resources, refresh tokens that serve once.
//
// usage: provider.mjs MODULES TENANT CLIENT_ID RESOURCE...
//
// MODULES is the directory of node_modules. It listens on a free port of loopback, prints its address, and ends with its
// standard input. What differs from Entra ID is bridged here and nowhere else:
//
// * the scope `RESOURCE/.default` names a resource (RFC 8707 has a parameter for it), and a sign-in consents to all of them;
// * `offline_access` takes `prompt=consent` (OpenID Connect Core 1.0, 11), which Entra ID does not ask for;
// * id_tokens name an account by `tid` and `oid`.
//
// GET /test/seen lists what was asked of it, with the refresh tokens that were presented; DELETE forgets that.

import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';

const [modules, tenant, clientId, ...resources] = process.argv.slice(2);
const entry = createRequire(join(modules, 'here.js')).resolve('oidc-provider');
// Standard output is for the address alone.
const print = console.log;
console.info = console.warn = console.log = console.error;
const { Provider } = await import(pathToFileURL(entry));

const people = {
  'ada@example.com': { name: 'Ada Example', oid: 'aaaaaaaa-0000-4000-8000-000000000001' },
  'bob@example.com': { name: 'Bob Example', oid: 'aaaaaaaa-0000-4000-8000-000000000002' },
};
const defaultScope = (resource) => `${resource}/.default`;
let seen = [];

function configuration() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return {
    clients: [{
      client_id: clientId,
      application_type: 'native',
      token_endpoint_auth_method: 'none',
      grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
      response_types: ['code'],
      redirect_uris: ['http://localhost'],
    }],
    jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), kid: 'test', use: 'sig', alg: 'RS256' }] },
    cookies: { keys: ['of a test'] },
    scopes: ['openid', 'offline_access', 'profile'],
    claims: { openid: ['sub', 'tid', 'oid'], profile: ['name', 'preferred_username'] },
    // Otherwise they stand at the userinfo endpoint alone.
    conformIdTokenClaims: false,
    findAccount: (ctx, id) => people[id] && {
      accountId: id,
      claims: () => ({ sub: id, tid: tenant, preferred_username: id, ...people[id] }),
    },
    rotateRefreshToken: true,
    ttl: { AccessToken: 3600, AuthorizationCode: 60, DeviceCode: 600, Grant: 86400, IdToken: 3600, Interaction: 600, RefreshToken: 86400, Session: 86400 },
    features: {
      devInteractions: { enabled: true },
      deviceFlow: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource(ctx, client, granted) {
          const named = resources.find((resource) => ctx.oidc.params.scope?.split(' ').includes(defaultScope(resource)));
          return granted ? named ?? granted[0] : resources;
        },
        useGrantedResource: () => true,
        getResourceServerInfo: (ctx, resource) => ({
          scope: defaultScope(resource),
          audience: resource,
          accessTokenFormat: 'jwt',
          accessTokenTTL: 3600,
          jwt: { sign: { alg: 'RS256' } },
        }),
      },
    },
  };
}

/** The parameters of a request to sign in, as this provider wants them. */
function bridged(text) {
  const parameters = new URLSearchParams(text);
  const scopes = new Set([...parameters.get('scope').split(' '), ...resources.map(defaultScope)]);
  parameters.set('scope', [...scopes].join(' '));
  parameters.set('prompt', 'consent');
  return parameters;
}

async function body(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const address = `http://127.0.0.1:${server.address().port}`;
  const base = `/${tenant}/v2.0`;
  const provider = new Provider(`${address}${base}`, configuration());
  provider.use(async (ctx, next) => {
    await next();
    const { route, params } = ctx.oidc ?? {};
    if (route === 'token') {
      const { grant_type: grant, refresh_token: refreshToken, code_verifier: verifier } = params ?? {};
      seen.push({ saw: 'token', grant, verifier: verifier?.length, refreshToken, status: ctx.status });
    }
  });
  provider.on('authorization.accepted', (ctx) => {
    const { code_challenge: challenge, code_challenge_method: method, redirect_uri: redirect } = ctx.oidc.params;
    seen.push({ saw: 'authorization', challenge: challenge?.length, method, redirect });
  });
  provider.on('server_error', (ctx, error) => console.error(error));
  const callback = provider.callback();
  server.on('request', async (request, response) => {
    const [path, query] = request.url.split('?');
    if (path === '/test/seen') {
      if (request.method === 'DELETE') seen = [];
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify(seen));
      return;
    }
    if (!path.startsWith(`${base}/`)) {
      response.writeHead(404).end();
      return;
    }
    const url = path === `${base}/auth` ? `${path}?${bridged(query)}` : request.url;
    // The provider takes a body that was read before it.
    if (path === `${base}/device/auth`) request.body = Object.fromEntries(bridged(await body(request)));
    // As far away as a real one is, so that requests overlap.
    if (path === `${base}/token`) await setTimeout(100);
    request.originalUrl = url;
    request.url = url.slice(base.length);
    callback(request, response);
  });
  print(address);
});

process.stdin.resume().on('end', () => process.exit());
