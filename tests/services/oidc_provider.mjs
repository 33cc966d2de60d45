// A provider of OpenID Connect: oidc-provider of npm, with the accounts of a file that is read anew each time.
// Arguments: the library's main file, the port, the file, the id and the secret of the client.
import { readFileSync } from "node:fs";

const [library, port, file, client, secret] = process.argv.slice(2);
const { Provider } = await import(library);
const accounts = () => JSON.parse(readFileSync(file, "utf8"));

const provider = new Provider(`http://localhost:${port}`, {
  clients: [{
    client_id: client,
    client_secret: secret,
    grant_types: ["authorization_code", "refresh_token"],
    redirect_uris: ["http://127.0.0.1/-/sign-in/acme/callback"],
  }],
  findAccount: (_, sub) => sub in accounts() ? { accountId: sub, claims: () => ({ sub, ...accounts()[sub] }) } : undefined,
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["groups"] },
  conformIdTokenClaims: false, // an ID token has the claims, as of most providers
  cookies: { keys: ["of a test"] },
  features: { devInteractions: { enabled: true } },
  issueRefreshToken: async () => true,
  pkce: { required: () => true },
  rotateRefreshToken: true, // and an old one ends all of its sign-in
});
// the port of the server is not known when this starts
provider.Client.prototype.redirectUriAllowed = (uri) => /^http:\/\/127\.0\.0\.1:\d+\/-\/sign-in\/[a-z]+\/callback$/.test(uri);
provider.listen(Number(port), "127.0.0.1");
