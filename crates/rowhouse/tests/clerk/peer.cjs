// Stands where Clerk stands: signs session tokens and webhooks with the packages that Clerk and Svix
// publish, has Clerk's own library judge them too, and publishes the keys as Clerk does.
const { generateKeyPairSync, createHmac } = require("node:crypto");
const { createServer } = require("node:http");
const { createClerkClient } = require("@clerk/backend");
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

// The Backend API: what it was asked, and the organisations that it has.
const SECRET = "sk_test_0123456789";
const asked = [];
const organizations = [];
// Whatever names one of these fails.
const failing = new Set();

function refuse(status, code) {
  throw { status, answer: { errors: [{ code, message: code, long_message: code }], clerk_trace_id: "t" } };
}

function makeOrganization({ id, name, slug, created_by, private_metadata, public_metadata }) {
  if (slug && organizations.some((other) => other.slug === slug)) refuse(422, "form_identifier_exists");
  const at = Date.now();
  const made = {
    object: "organization", id: id ?? `org_api${organizations.length}x${at}`, name, slug: slug ?? null, created_by,
    private_metadata: private_metadata ?? {}, public_metadata: public_metadata ?? {}, created_at: at, updated_at: at,
  };
  organizations.push(made);
  return made;
}

function api(method, path, headers, body) {
  const call = `${path} ${JSON.stringify(body)}`;
  if ([...failing].some((name) => call.includes(name))) refuse(500, "internal_clerk_error");
  if (headers.authorization !== `Bearer ${SECRET}`) refuse(401, "authentication_invalid");
  asked.push({ method, path, version: headers["clerk-api-version"], type: headers["content-type"], body });
  const [kind, id, part] = path.split("/");
  if (kind !== "organizations") refuse(404, "resource_not_found");
  if (method === "POST" && !id) return makeOrganization(body);
  const found = organizations.find((organization) => organization.id === id || organization.slug === id);
  if (!found) refuse(404, "resource_not_found");
  if (part !== "invitations") return found;
  if (body.email_address.startsWith("member@")) refuse(400, "already_a_member_in_organization");
  return { object: "organization_invitation", id: `orginv_${Date.now()}`, status: "pending", ...body };
}

const routes = {
  "GET /.well-known/jwks.json": () => {
    fetches += 1;
    return { keys: published.map((name) => keys[name].public) };
  },
  "GET /fetches": () => fetches,
  "POST /asked": () => asked,
  "POST /fail": (name) => void failing.add(name),
  "POST /heal": (name) => void failing.delete(name),
  "POST /organization": makeOrganization,
  // What Clerk's own client asks of the API for the same.
  "POST /reference": async ([call, parameters]) => {
    const before = asked.length;
    const apiUrl = `http://127.0.0.1:${server.address().port}`;
    await createClerkClient({ secretKey: SECRET, apiUrl }).organizations[call](parameters);
    return asked.splice(before)[0];
  },
  "POST /publish": (names) => void (published = names),
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
  const reply = (status, answer) =>
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(answer ?? null));
  if (route) return reply(200, await route(body));
  try {
    reply(200, api(request.method, request.url.replace(/^\/v1\//, ""), request.headers, body));
  } catch (refused) {
    reply(refused.status ?? 500, refused.answer);
  }
});

// The tests keep connections for longer than they are idle.
server.keepAliveTimeout = 600_000;
server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`));
