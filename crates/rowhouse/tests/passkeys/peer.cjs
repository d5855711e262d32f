// A browser with authenticators that are programs (Chromium's own, over the DevTools protocol): each
// person has a page of their own, and in it an authenticator. The tests ask for answers to challenges here,
// and send them to the service themselves.
const { createServer } = require("node:http");
const { chromium } = require("playwright-core");

const AUTHENTICATOR = {
  protocol: "ctap2",
  transport: "internal",
  hasResidentKey: true,
  hasUserVerification: true,
  isUserVerified: true,
  automaticPresenceSimulation: true,
};

const people = [];

// In the page: what a browser makes of the service's options, as JSON; or the name of its refusal.
const answer = async ({ kind, options }) => {
  try {
    const publicKey =
      kind === "create"
        ? PublicKeyCredential.parseCreationOptionsFromJSON(options)
        : PublicKeyCredential.parseRequestOptionsFromJSON(options);
    const credential = await navigator.credentials[kind]({ publicKey });
    return { credential: credential.toJSON() };
  } catch (refused) {
    return { refused: refused.name };
  }
};

function start(browser) {
  const routes = {
    // Somebody with a browser, on a page of the service.
    "/people": async ({ url }) => {
      const context = await browser.newContext();
      const page = await context.newPage();
      await page.goto(url);
      const devtools = await context.newCDPSession(page);
      await devtools.send("WebAuthn.enable");
      const { authenticatorId } = await devtools.send("WebAuthn.addVirtualAuthenticator", { options: AUTHENTICATOR });
      people.push({ page, devtools, authenticatorId });
      return { person: people.length - 1 };
    },
    "/visit": async ({ person, url }) => void (await people[person].page.goto(url)),
    "/answer": ({ person, kind, options }) => people[person].page.evaluate(answer, { kind, options }),
    // Whether the authenticator knows its person: by a finger, a face or a PIN.
    "/verified": async ({ person, verified }) => {
      const { devtools, authenticatorId } = people[person];
      await devtools.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: verified });
    },
    // Puts the counts of all passkeys back, as a copy's are that was made before.
    "/rewind": async ({ person, count }) => {
      const { devtools, authenticatorId } = people[person];
      const { credentials } = await devtools.send("WebAuthn.getCredentials", { authenticatorId });
      for (const credential of credentials) {
        const { credentialId } = credential;
        await devtools.send("WebAuthn.removeCredential", { authenticatorId, credentialId });
        await devtools.send("WebAuthn.addCredential", {
          authenticatorId,
          credential: { ...credential, signCount: count },
        });
      }
      return { counts: credentials.map(({ signCount }) => signCount) };
    },
  };
  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const reply = (status, told) =>
      response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(told ?? null));
    try {
      reply(200, await routes[request.url](JSON.parse(Buffer.concat(chunks).toString())));
    } catch (failed) {
      reply(500, { failed: String(failed.stack ?? failed) });
    }
  });
  // The tests keep connections for longer than they are idle.
  server.keepAliveTimeout = 600_000;
  server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`));
}

chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--disable-dev-shm-usage"] }).then(start);
// Ends with the tests, and the browser with it.
process.stdin.on("end", () => process.exit()).resume();
