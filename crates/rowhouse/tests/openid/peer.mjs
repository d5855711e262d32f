// A relying party: signs people in at an OpenID provider with the certified library openid-client, and tells
// the tests what the library says.
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

// Modules are imported by address: only CommonJS looks at NODE_PATH.
const path = createRequire(import.meta.url).resolve("openid-client");
const openid = await import(pathToFileURL(path));

const sessions = [];

const authentication = {
  basic: (secret) => openid.ClientSecretBasic(secret),
  post: (secret) => openid.ClientSecretPost(secret),
  none: () => openid.None(),
};

const told = (tokens) => ({ ...tokens, claims: tokens.claims() });

const routes = {
  async start({ issuer, client_id, secret, algorithm, method, redirect_uri, ...parameters }) {
    const metadata = { id_token_signed_response_alg: algorithm };
    const execute = [openid.allowInsecureRequests, openid.enableNonRepudiationChecks];
    const config = await openid.discovery(new URL(issuer), client_id, metadata, authentication[method](secret), { execute });
    const verifier = openid.randomPKCECodeVerifier();
    const checks = { pkceCodeVerifier: verifier, expectedState: openid.randomState(), expectedNonce: openid.randomNonce() };
    const url = openid.buildAuthorizationUrl(config, {
      redirect_uri, state: checks.expectedState, nonce: checks.expectedNonce, code_challenge_method: "S256",
      code_challenge: await openid.calculatePKCECodeChallenge(verifier), ...parameters,
    });
    if (parameters.max_age) checks.maxAge = Number(parameters.max_age);
    return { id: sessions.push({ config, checks }) - 1, url: url.href, metadata: config.serverMetadata() };
  },
  finish: async ({ id, url }) => told(await openid.authorizationCodeGrant(sessions[id].config, new URL(url), sessions[id].checks)),
  refresh: async ({ id, token, ...parameters }) => told(await openid.refreshTokenGrant(sessions[id].config, token, parameters)),
  userinfo: ({ id, token, sub }) => openid.fetchUserInfo(sessions[id].config, token, sub),
  introspect: ({ id, token }) => openid.tokenIntrospection(sessions[id].config, token),
  revoke: async ({ id, token }) => ({ revoked: (await openid.tokenRevocation(sessions[id].config, token)) === undefined }),
  logout: ({ id, ...parameters }) => ({ url: openid.buildEndSessionUrl(sessions[id].config, parameters).href }),
};

const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  let answer;
  try {
    answer = await routes[request.url.slice(1)](JSON.parse(Buffer.concat(chunks).toString()));
  } catch (error) {
    answer = { refused: error.error ?? error.code ?? "failed", status: error.status, message: String(error.cause?.message ?? error.message) };
  }
  response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(answer));
});

// The tests keep connections for longer than they are idle.
server.keepAliveTimeout = 600_000;
server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`));
