// Stands where Clerk stands: signs session tokens and webhooks with the packages that Clerk and Svix
// publish, has Clerk's own library judge them too, and publishes the keys as Clerk does.
const { generateKeyPairSync, createHmac } = require("node:crypto");
const { createServer } = require("node:http");
const { signJwt, verifyJwt } = require("@clerk/backend/jwt");
const { verifyWebhook } = require("@clerk/backend/webhooks");
const { Webhook } = require("svix");

function makeKey(kid) {
  const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const published = { ...publicKey.export({ format: "jwk" }), kid, use: "sig", alg: "RS256" };
  return { kid, private: privateKey.export({ format: "jwk" }), public: published };
}

// "foreign" signs as well, but nobody publishes it.
const keys = { first: makeKey("ins_first"), second: makeKey("ins_second"), foreign: makeKey("ins_first") };
let published = ["first"];
let fetches = 0;

// What no library makes: a token with a header of the caller's choice.
function forge(header, claims, publicKey) {
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${encode(header)}.${encode(claims)}`;
  const secret = JSON.stringify(publicKey);
  return `${signed}.${header.alg === "none" ? "" : createHmac("sha256", secret).update(signed).digest("base64url")}`;
}

const verdict = (judged) => judged.then(() => "accepted", (error) => String(error.reason ?? error.message));

const routes = {
  "GET /.well-known/jwks.json": () => {
    fetches += 1;
    return { keys: published.map((name) => keys[name].public) };
  },
  "GET /fetches": () => fetches,
  "POST /publish": (names) => {
    published = names;
  },
  "POST /token": async ({ claims, key = "first", kid, forged, parties }) => {
    const signer = keys[key];
    const token = forged
      ? forge({ typ: "JWT", kid: signer.kid, ...forged }, claims, signer.public)
      : await signJwt(claims, signer.private, { algorithm: "RS256", header: { kid: kid ?? signer.kid, typ: "JWT" } });
    const judged = verifyJwt(token, { key: keys.first.public, authorizedParties: parties });
    return { token, verdict: await verdict(judged) };
  },
  "POST /message": async ({ id, timestamp, body, secrets }) => {
    const sign = (secret) => new Webhook(secret).sign(id, new Date(timestamp * 1000), body);
    const signature = secrets.map(sign).join(" ");
    const headers = { "svix-id": id, "svix-timestamp": String(timestamp), "svix-signature": signature };
    const request = new Request("http://localhost/", { method: "POST", headers, body });
    return { signature, verdict: await verdict(verifyWebhook(request, { signingSecret: secrets[0] })) };
  },
};

const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const route = routes[`${request.method} ${request.url}`];
  const body = chunks.length ? JSON.parse(Buffer.concat(chunks).toString()) : undefined;
  const answer = route ? JSON.stringify((await route(body)) ?? null) : "null";
  response.writeHead(route ? 200 : 404, { "content-type": "application/json" }).end(answer);
});

// The tests keep connections for longer than they are idle.
server.keepAliveTimeout = 600_000;
server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`));
