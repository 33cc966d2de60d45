"""
Signing in with the account of another place: providers of OpenID Connect, and GitHub.

Nothing of this package is imported without `[[sign_in]]`. A sign-in goes so:

1. The button leads to `/-/sign-in/NAME/`. `attempts.py` makes `state`, nonce and code verifier,
   and the browser gets a cookie of ten minutes. That cookie is `SameSite=Lax`, as the browser
   comes back from another site. That of the session is `Strict`.
2. The provider sends the browser back to `/-/sign-in/NAME/callback` with a code. The attempt
   counts now. `attempts.py` says which sign-in of this browser that belongs to.
3. `openid.py` exchanges the code for an ID token, verifies it, and asks userinfo for what it
   lacks. `claims.py` makes a person of the claims, or refuses them.
4. `attempts.py` records the sign-in as used, the first thing that is written.
5. `confirmed_people.py` claims the name, and writes the record of the person.
6. `authentication/sessions.py` begins a session, and ends the one that the browser had. Its cookie
   does not come along from another site, so that `state` names it since step 1. The answer is a
   page that leads on, as a browser sends a `Strict` cookie only once a page of this index has asked
   for another one.

At each use of a session, `SignIn.present` reads the record of the person, which is cached as that
of a token is. It renews the confirmation after a quarter of an hour, by the refresh token that is
in the record. What the provider says then holds: new groups, another name, or that nobody has the
account any more. A provider that does not answer changes nothing for an hour. Then a session
counts only after it has answered. Without a refresh token a session is over after an hour.

- `provider.py`: what the settings say of a provider, what it is asked, and the errors
- `provider_requests.py`: what all of them are asked in the same way, and their error codes
- `openid.py`: OpenID Connect (discovery, ID token, userinfo, renewal)
- `github.py`: GitHub, whose API says who somebody is, as there is no ID token
- `claims.py`: from claims to a person
- `attempts.py`: sign-ins that have begun
- `confirmed_people.py`: the records of people, and renewals
- `sign_in.py`: all of it together, for sessions and handlers

A person is found by provider and subject (`sub`), never by name. The name is for grants, pages and
journals. It belongs to whoever had it first: an address that is given to somebody else at the
provider gives them no rights here.

The refresh token is in the store, so that any server can renew a person. It is sealed with a key
from the secret of the client, which is in the environment. Whoever reads the store alone can do
nothing with it, and whoever has the secret alone has no refresh token.

No library does the flow. Authlib and joserfc were looked at: the clients of Authlib need requests
or httpx, and so cannot go through `http_client/`, which alone connects to allowed addresses. What
is left of Authlib are the checks of nonce, `azp` and `at_hash`, 20 lines here. Either would be a
second implementation of JWTs beside PyJWT, which already verifies those of Google and of CI jobs
by the same list of algorithms and the same rules for keys.
"""
