"""
Authentication of credentials, and authorization of the callers that they identify.

`model/access.py` decides: a `Caller` has scopes, a scope has actions and patterns, and
`Caller.may` is the only question. `authentication/authorization.py` turns a no into 401, 403 or
404, by patterns alone and never by what exists.

1. `http/forms.py` refuses unknown hosts, plain HTTP where a setting forbids it, and requests
   that another site's page made a browser send.
2. `http/request_authentication.py` computes a keyed digest of the header and the client's
   network. A caller that was authenticated under that digest within the last second is not
   authenticated again. Otherwise the header is parsed into a `Credential`. Web pages behind
   Identity-Aware Proxy take the proxy's assertion instead, and nothing else.
3. `Authenticator.authenticate` is one blocking call. `waits_for` says, without hashing or asking,
   which pool of threads it has to run in: that for hashes (at most four at once), that for Google
   and the keys of issuers, or that for reads. Requests with the same header share one call. A
   password waits in the event loop for its turn. Exactly one verifier is asked, so that no
   credential is sent to a party that it was not meant for. `authenticator.py` has the order. Too
   many failures give 429 before anything is hashed.
4. A verifier returns an `Identity`: principals, and the scopes that the credential itself brings.
   It raises `Unauthenticated` with one fixed text for each type of credential, and the reason is
   logged as a code. Only the secret of a revoked or expired token gets another text: which token
   it is, and since when. If the verifier cannot decide, it raises `Unavailable`.
5. The authorization policy adds the scopes of the grants for these principals, and what everyone
   may do: that is the `Caller`. The scope of an API token is its record's, cut down to what its
   owner may do now, if it has an owner. The grants (`operations/access_control.py`) are a document
   that is cached as a token's record is, so a request whose caller is cached reads nothing for
   them. What callers without a credential may do follows from them as well, unless a whole index
   is open to everybody, or `access.private` is set. The record of a person who owns a token is
   cached alike.

- `authenticator.py`: the order of verifiers, and rate limits
- `credentials.py`: types of credentials, as their text shows them
- `recent_callers.py`: the callers that were verified in the last second
- `rejections.py`: the log of rejections
- `authorization.py`: the scopes of an identity, by the grants in force (`model/grants.py`) and by
  its credential
- `api_tokens.py`: makes, lists, rotates, revokes and verifies API tokens, and warns before they
  expire
- `caller_tokens.py`: which tokens a caller may see, make, rotate and revoke by the API and pages
- `token_list.py`: which of thousands of tokens are shown, and what is marked
- `token_owners.py`: who owns a token, and what becomes of a token with its owner
- `passwords.py`: lines of htpasswd files
- `sessions.py`: sessions of browsers
- `confirmation.py`: the confirmation by a provider for which a session waits
- `trusted_publishing.py`: exchanges a CI job's ID token for an API token of 15 minutes
- `rights.py`: all rights in one list, for `wheelyard access explain` and the pages
- `sign_in/`: signing in with providers of OpenID Connect
- `verifiers/htpasswd.py`: passwords, as bcrypt, apr1, `{SHA}` or SHA-crypt
- `verifiers/static_tokens.py`: static tokens
- `verifiers/signed_jwt.py`: signed JWTs
- `verifiers/issuer_keys.py`: the public keys of issuers, and how they are fetched
- `verifiers/google_id_tokens.py`: Google's ID tokens, and Identity-Aware Proxy
- `verifiers/google_access_tokens.py`: Google's access tokens
- `verifiers/verifier.py`: what verifiers share: the interface, the fixed texts, and the cache under
  an HMAC
- `verifiers/reloading_file.py`: files of credentials that are read again when they change
- `verifiers/login_rate_limit.py`: how often a login may fail

Verifiers block, get clock, randomness, process key and network handed in, and know neither HTTP
nor the store.

Trusted publishing. The issuer of an ID token is that of a publisher in force
(`operations/publishers.py`), or nothing is fetched. Then
signature, times and audience are verified (`verifiers/signed_jwt.py`), then the rules of the
publishers (`model/publisher.py`, `publisher_claim_rules.py`, `claim_matchers.py`: pure). Then the
ID token is marked as used (`ReplayProtection`: a create-only object), and the API token is
written. A crash between the two costs the job another ID token, and never makes two API tokens of
one. An API token from trusted publishing names its publishers. What it may do is looked up each
time it is used.

A session is a signed cookie, and the store has only the sessions that were ended. A stored session
would be a write for each sign-in, and a read that finds nothing would have to mean: signed out.
Here a read that finds nothing is the usual case, which is cached. The price is a secret in the
store: whoever reads the key can sign in as anybody, where all else in `credentials/` is digests.
So a copy leaves it out, and the settings are refused or warned about where others may read it. The
cookie has a keyed fingerprint of the password's hash or the token's digest, so a changed
credential ends its sessions without a list of them. Of a person of a provider, one of the
provider's client and of how often the sessions of the person were ended. A signature that does not
fit has the key read again, once a second at most: somebody may just have signed in elsewhere with
a new one.

An access token is authorized, not identified. Many applications hold tokens with the e-mail of a
person who once agreed. So Google is asked what this very token may do to a bucket, and that is
its right: a thief gains nothing here that they do not have there. Principals for grants come from
ID tokens, which are issued for this index.

The bucket that is asked about rights is empty. With the packages' own bucket, everyone who may
upload could also write past the index, tokens included. So of that bucket only reading is
honoured.

Grants only add rights. With patterns, a grant that removes rights would make the result depend on
the order of the tables. A pattern has at most one star, at its end, so that a person can see
whether two patterns overlap.

Verifications are cached under an HMAC with a key of the process, because a secret used as a key
would be in every memory dump. What is cached is who a caller is, never what they may do, except
Google's own answers.

PyJWT checks the signature. The other rules are ours: the list of algorithms, the one audience,
the longest lifetime, the keys and how they are fetched. `PyJWKClient` blocks and has other rules,
and PyJWT accepts a missing `exp` or one in a hundred years.

API tokens that exist are not rate-limited. 190 bits cannot be guessed, and counting a revoked
token of a busy CI would lock out the office that it comes from. Unknown tokens cost a read of the
store each, so 60 of them a minute are allowed.

A verified header is trusted for one second. To check sooner what could have changed meanwhile (a
token's record, two files) took a second notion of evidence in five classes. So a revoked token
lives for up to a second on a folder. A file is checked every four seconds and a token's record on
a bucket is cached for fourteen, so that with that second it is the promised five and fifteen.

Passwords that were right lately have turns of their own for hashing. The rate limit alone does
not stop an attacker with many networks from filling the queue. It takes a second
`ConcurrencyLimit` before the same threads, one of which unknown clients never get.

A failed login is counted when it has failed. Counting before the check, and giving back after it,
would keep a right password out, or make it wait, while others of its network are checked. So a
limit is exceeded by the few that are checked at the same moment.

A rotation stores the new token first, and a rotated token names its successor. So a crash leaves
two working tokens and not none, and within the overlap the name that both have means the new one.
The compare-and-swap on the old record decides between two rotations. The loser's new token is
revoked before anybody has seen it.

A token that expires soon is logged when it is used, which costs no request. The metric needs a
listing, so it is counted in the background, at most once an hour, and only by a process whose
metrics are read.

A token made over HTTP has an owner, and one from the command line has none unless that is said. The
first is cut down to what its owner may do when it is used. The second was made by somebody who has
the store anyway. A token with an owner changes no rights and makes no token: what a thief makes
with it would else outlive it.

Names are used again, so an owner is told apart by more: a person of a provider by what the provider
never changes, a name of the htpasswd file by the digest of its line: an operator who writes another
line ends the tokens.

Earlier versions let people change their password in the browser, and kept it in the store. The line
of such a person may have a password that others know, so it does not count until it is replaced.
"""
