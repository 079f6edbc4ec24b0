// panva's openid-client against servers of ours: a DPoP-bound token, and requests with it.
//
// The one argument is JSON with token_endpoint, resource, client_id and client_secret; what came
// back is printed as JSON.

import * as client from "openid-client";

const given = JSON.parse(process.argv[2]);
const server = { issuer: new URL("/", given.token_endpoint).href, token_endpoint: given.token_endpoint };
const secret = client.ClientSecretPost(given.client_secret);
const config = new client.Configuration(server, given.client_id, undefined, secret);
client.allowInsecureRequests(config); // loopback

const handle = async () =>
  client.getDPoPHandle(config, await client.randomDPoPKeyPair(given.algorithm));
const mine = await handle();
const tokens = await client.clientCredentialsGrant(config, { scope: "notes" }, { DPoP: mine });

async function ask(method, path, DPoP) {
  const url = new URL(path, given.resource);
  try {
    const { access_token: token } = tokens;
    const answer = await client.fetchProtectedResource(
      config, token, url, method, undefined, undefined, { DPoP },
    );
    return { status: answer.status, body: await answer.text() };
  } catch (error) {
    const challenges = error.cause?.map?.(({ scheme, parameters }) => ({ scheme, ...parameters }));
    return { status: error.status, challenges, message: error.message };
  }
}

const answers = {
  token_type: tokens.token_type,
  thumbprint: await mine.calculateThumbprint(),
  get: await ask("GET", "/notes", mine),
  query: await ask("GET", "/notes?page=2#top", mine),
  encoded: await ask("GET", "/notes/%C3%BC%2Fx|y", mine),
  post: await ask("POST", "/notes", mine),
  stolen: await ask("GET", "/notes", await handle()),
  bearer: await ask("GET", "/notes", undefined),
};
process.stdout.write(JSON.stringify(answers));
