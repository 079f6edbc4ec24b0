// An OpenID provider (panva's oidc-provider) that the tests start, steer and stop.
//
// The first line on standard input is its configuration as JSON (see `OIDCProvider` in
// launcher.py), each further one a command; each is answered by one line of JSON. It ends when
// standard input does, so it cannot outlive the test run.

import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { generateKeyPairSync, randomBytes, randomUUID } from "node:crypto";

// oidc-provider 9 is written for Node 22; this is what it misses in Node 20.
URL.parse ??= (url, base) => (URL.canParse(url, base) ? new URL(url, base) : null);
console.info = console.warn = console.error; // standard output is for our answers alone
const { default: Provider, errors } = await import("oidc-provider");

const KEYS = {
  RS256: ["rsa", { modulusLength: 2048 }],
  PS256: ["rsa", { modulusLength: 2048 }],
  ES256: ["ec", { namedCurve: "P-256" }],
  EdDSA: ["ed25519", {}],
};
const REFUSES = "refuses"; // this login_hint is a person who says no

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const settings = JSON.parse((await lines.next()).value);
const cookieKeys = [randomBytes(16).toString("hex")];
const nonceSecret = randomBytes(32);
const calls = [];
const answer = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const storage = new Map(); // outlives a rotation, for which the provider is built anew
let loggedIn = settings.account;
let keys = newKeys();
let provider;

class Adapter {
  constructor(model) {
    this.model = model;
  }

  async upsert(id, payload, expiresIn) {
    const until = expiresIn ? Date.now() + expiresIn * 1000 : Infinity;
    storage.set(`${this.model}:${id}`, { payload, until });
  }

  async find(id) {
    const found = storage.get(`${this.model}:${id}`);
    return found && found.until > Date.now() ? found.payload : undefined;
  }

  async findByUid(uid) {
    return this.#first((payload) => payload.uid === uid);
  }

  async findByUserCode(code) {
    return this.#first((payload) => payload.userCode === code);
  }

  async consume(id) {
    (await this.find(id)).consumed = Math.floor(Date.now() / 1000);
  }

  async destroy(id) {
    storage.delete(`${this.model}:${id}`);
  }

  async revokeByGrantId(grantId) {
    for (const [key, { payload }] of storage) {
      if (payload.grantId === grantId) storage.delete(key);
    }
  }

  #first(fits) {
    for (const [key, { payload }] of storage) {
      if (key.startsWith(`${this.model}:`) && fits(payload)) {
        return this.find(key.slice(this.model.length + 1));
      }
    }
    return undefined;
  }
}

function newKeys() {
  return settings.algorithms.map((alg) => {
    const [kind, options] = KEYS[alg];
    const jwk = generateKeyPairSync(kind, options).privateKey.export({ format: "jwk" });
    return { ...jwk, alg, use: "sig", kid: randomUUID() };
  });
}

function build(issuer) {
  const made = new Provider(issuer, {
    clients: settings.clients,
    clientDefaults: { id_token_signed_response_alg: settings.algorithms[0] },
    jwks: { keys },
    adapter: Adapter,
    cookies: { keys: cookieKeys },
    pkce: { required: () => settings.require_pkce },
    scopes: ["openid", "offline_access", ...settings.scopes],
    claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"] },
    conformIdTokenClaims: false, // ID tokens hold the claims of their scopes
    enabledJWA: { dPoPSigningAlgValues: settings.dpop_algorithms },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      deviceFlow: { enabled: true },
      introspection: { enabled: true },
      revocation: { enabled: true },
      backchannelLogout: { enabled: true },
      rpInitiatedLogout: { enabled: true, logoutSource: showForm },
      dPoP: { enabled: true, nonceSecret, requireNonce: () => settings.dpop_nonce },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => settings.default_resource ?? undefined,
        useGrantedResource: () => true,
        getResourceServerInfo: resourceServer,
      },
    },
    interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    issueRefreshToken: async (_ctx, client) => client.grantTypeAllowed("refresh_token"),
    findAccount: (_ctx, sub) => account(sub),
    loadExistingGrant: grantEverything,
    renderError: (ctx, out) => {
      ctx.type = "json";
      ctx.body = JSON.stringify(out);
    },
    // Its own fetch does not call loopback addresses, where the tests' clients listen.
    fetch: (url, { dispatcher, ...options }) => globalThis.fetch(url, options),
    ttl: { Session: 3600, Grant: 3600, Interaction: 600, IdToken: 300, RefreshToken: 3600 },
  });
  for (const event of ["server_error", "backchannel.error"]) {
    made.on(event, (_ctx, error) => process.stderr.write(`${event}: ${error.stack}\n`));
  }
  return made;
}

function account(sub) {
  const claims = { email: `${sub}@example.com`, email_verified: true, name: sub };
  return { accountId: sub, claims: () => ({ sub, ...claims, ...settings.claims[sub] }) };
}

function resourceServer(_ctx, indicator) {
  const known = settings.resources[indicator];
  if (known === undefined) {
    throw new errors.InvalidTarget();
  }
  const alg = known.algorithm ?? settings.algorithms[0];
  const scope = known.scope ?? "read write";
  return { scope, audience: indicator, accessTokenFormat: "jwt", jwt: { sign: { alg } } };
}

async function grantEverything(ctx) {
  const { client, session, params, resourceServers } = ctx.oidc;
  const grant = new ctx.oidc.provider.Grant({
    clientId: client.clientId,
    accountId: session.accountId,
  });
  grant.addOIDCScope(params.scope);
  for (const [indicator, server] of Object.entries(resourceServers ?? {})) {
    grant.addResourceScope(indicator, server.scope);
  }
  await grant.save();
  return grant;
}

function showForm(ctx, form) {
  ctx.body = `<!DOCTYPE html>${form}<button form="op.logoutForm" name="logout" value="yes">Yes`;
}

// Where a person would type a password, the configured account is logged in at once.
async function interact(request, response) {
  const { params } = await provider.interactionDetails(request, response);
  const who = params.login_hint ?? loggedIn;
  const result =
    who === REFUSES ? { error: "access_denied" } : { login: { accountId: who, remember: true } };
  await provider.interactionFinished(request, response, result);
}

const server = createServer(async (request, response) => {
  calls.push(`${request.method} ${request.url.split("?")[0]}`);
  try {
    if (request.url.startsWith("/interaction/")) {
      await interact(request, response);
    } else {
      await provider.callback()(request, response);
    }
  } catch (error) {
    response.writeHead(error.statusCode ?? 500).end(String(error));
  }
});

const COMMANDS = {
  rotate_keys({ keep_old }) {
    keys = [...newKeys(), ...(keep_old ? keys : [])];
    provider = build(provider.issuer);
    return { kids: keys.map((key) => key.kid) };
  },
  log_in_as({ account: who }) {
    loggedIn = who;
    return {};
  },
  calls() {
    return { calls: calls.splice(0) };
  },
};

await new Promise((done) => server.listen(0, "127.0.0.1", done));
provider = build(`http://127.0.0.1:${server.address().port}`);
answer({ issuer: provider.issuer });

for await (const line of lines) {
  const { command, ...options } = JSON.parse(line);
  answer(COMMANDS[command](options));
}
process.exit(0);
