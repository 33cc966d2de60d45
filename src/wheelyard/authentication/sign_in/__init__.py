"""
Sign-ins with an account of a provider: a provider of OpenID Connect, or GitHub.

Nothing of this package is imported without `[[sign_in]]`. A sign-in has these steps:

1. The button leads to `/-/sign-in/NAME/`. `attempts.py` makes `state`, nonce and code verifier,
   and the browser gets a cookie of ten minutes. That cookie is `SameSite=Lax`, as the browser
   comes back from another site. The cookie of the session is `Strict`.
2. The provider sends the browser back to `/-/sign-in/NAME/callback` with a code. Now the attempt
   counts for the rate limit. `attempts.py` finds the sign-in of this browser that the answer
   belongs to.
3. `openid.py` exchanges the code for an ID token, verifies the token, and asks userinfo for claims
   that the token lacks. `claims.py` makes a confirmation from the claims, or refuses the person.
4. `attempts.py` records the sign-in as used, which is the first write.
5. `confirmed_people.py` claims the name, and writes the record of the person.
6. `authentication/sessions.py` begins a session, and ends the session that the browser had. The
   cookie of the earlier session does not come along from another site, so `state` names that
   session since step 1. The answer is a page that leads on to another page of this index, as a
   browser sends a `Strict` cookie only from a page of the same site.

At each use of a session, `SignIn.present` reads the record of the person, which is cached as the
record of a token is. The confirmation is renewed after a quarter of an hour, by the refresh token
in the record. Then the new answer of the provider counts: new groups, another name, or a refusal.
If the provider does not answer, nothing changes for an hour. After that, a session counts only once
the provider has answered. Without a refresh token, a session ends after an hour.

- `provider.py`: the settings of a provider, the interface for requests to it, and the errors
- `provider_requests.py`: the requests that all providers share, and their error codes
- `openid.py`: OpenID Connect (discovery, ID token, userinfo, renewal)
- `github.py`: GitHub, whose API says who somebody is, as there is no ID token
- `claims.py`: the rules that make a confirmation of a person from claims
- `attempts.py`: sign-ins that have begun
- `confirmed_people.py`: the records of people, and renewals
- `sign_in.py`: the whole sign-in, for handlers, and the check of a session

A person is found by provider and subject (`sub`), never by name. The name is for grants, pages and
journals. A name belongs to the person who had it first: if the provider gives an address to another
person, that person gets no rights here.

The refresh token is in the store, so that any server can renew a person. The token is sealed with a
key from the secret of the client, which is in the environment. Whoever reads the store alone cannot
use the token, and whoever has the secret alone has no token.

No library does the flow. The clients of Authlib need requests or httpx, and so cannot go through
`http_client/`, which alone connects to allowed addresses. The other useful parts of Authlib are the
checks of nonce, `azp` and `at_hash`, which are 20 lines here. Authlib and joserfc would each be a
second implementation of JWTs beside PyJWT, which verifies the JWTs of Google and of CI jobs with
one list of algorithms and one set of rules for keys.
"""
