"""
Authentication of credentials, and authorization of the callers that they identify.

`model/access.py` decides: a `Caller` has scopes, a scope has actions and patterns, and only
`Caller.may` says what a caller may do. `authentication/authorization.py` answers a refusal by 401,
403 or 404, which follow from patterns alone and never from what exists.

1. `http/forms.py` refuses unknown hosts, plain HTTP where a setting forbids it, and requests
   that another site's page made a browser send.
2. `http/request_authentication.py` computes a keyed digest of the header and the client's
   network. A caller that was authenticated under that digest within the last second is not
   authenticated again. Otherwise the header is parsed into a `Credential`. Web pages behind
   Identity-Aware Proxy accept the proxy's assertion alone.
3. `Authenticator.authenticate` is one blocking call. `waits_for` says, without a hash or a request,
   in which pool of threads the call has to run: the pool for hashes (at most four at once), for
   Google and the keys of issuers, or for reads. Requests with equal headers share one call. A
   password waits in the event loop for its turn. Exactly one verifier gets the credential, so that
   no credential is sent to a party that it was not meant for. `authenticator.py` has the order. Too
   many failures give 429 before anything is hashed.
4. A verifier returns an `Identity`: principals, and the scopes that the credential itself brings.
   A verifier raises `Unauthenticated` with one fixed text for each type of credential, and the
   reason is logged as a code. Only the secret of a revoked or expired token gets another text:
   which token it is, and since when. If the verifier cannot decide, it raises `Unavailable`.
5. The authorization policy makes the `Caller`: it adds the scopes of the grants for these
   principals, and the scopes of everybody. The scope of an API token is that of its record, limited
   to what the owner may do now, if the token has an owner. The grants
   (`operations/access_control.py`) are a document that is cached as the record of a token is, so a
   request whose caller is cached does not read the grants. The rights of callers without a
   credential follow from the grants, too, unless a whole index is open to everybody, or
   `access.private` is set. The record of a person who owns a token is cached in the same way.

- `authenticator.py`: the order of verifiers, and rate limits
- `credentials.py`: types of credentials, as their text shows them
- `recent_callers.py`: the callers that were verified in the last second
- `rejections.py`: the log of rejections
- `authorization.py`: the scopes of an identity, by the grants in force (`model/grants.py`) and by
  its credential
- `api_tokens.py`: makes, lists, rotates, revokes and verifies API tokens, and warns before they
  expire
- `caller_tokens.py`: which tokens a caller may see, make, rotate and revoke by the API and pages
- `token_list.py`: marks, filters and order of lists with thousands of tokens
- `token_owners.py`: who owns a token, and how the state of the owner limits the token
- `passwords.py`: new passwords, and lines of htpasswd files
- `sessions.py`: sessions of browsers
- `confirmation.py`: the exception for a session that waits for a confirmation by its provider
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

Verifiers block. Clock, randomness, process key and network are handed to them, and they know
neither HTTP nor the store.

Trusted publishing. The issuer of an ID token has to be that of a publisher in force
(`operations/publishers.py`), or nothing is fetched. Then signature, times and audience are verified
(`verifiers/signed_jwt.py`), and then the rules of the publishers (`model/publisher.py`,
`publisher_claim_rules.py`, `claim_matchers.py`: pure). Then the ID token is marked as used
(`ReplayProtection`: a create-only object), and the API token is written. A crash between these two
steps costs the job another ID token, and never makes two API tokens of one ID token. An API token
from trusted publishing names its publishers. The rights of the publishers are read each time the
token is used.

A session is a signed cookie, and the store has only the sessions that were ended. With stored
sessions, each sign-in would write, and a read that finds nothing would mean: signed out. Here a
read that finds nothing is the usual case, which is cached. The price is a secret in the store:
whoever reads the key can sign in as anybody, where all else in `credentials/` is digests. So a copy
leaves the key out, and the settings are refused or warned about where others may read the key. The
cookie has a keyed fingerprint of the password's hash or the token's digest, so a changed credential
ends its sessions without a list of sessions. For a person of a provider, the fingerprint is of the
provider's client and of how often the sessions of the person were ended. If a signature does not
fit, the key is read again, once a second at most: somebody may just have signed in at another
server with a new key.

An access token is authorized, not identified. Many applications hold tokens with the e-mail of a
person who once agreed. So Google is asked what this very token may do to a bucket, and the token
gets these rights: a thief gains nothing here that they do not have at Google. Principals for grants
come from ID tokens, which are issued for this index.

The bucket whose rights count is empty. If it were the bucket of the packages, everyone who may
upload could also write past the index, tokens included. So a bucket of packages only gives the
right to read.

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
token of a busy CI would lock out the office that it comes from. An unknown token costs a read of
the store, so 60 unknown tokens a minute are allowed.

A verified header is trusted for one second. Checking within that second whether a token's record or
a file has changed took a second notion of evidence in five classes. So a revoked token works for up
to a second more. A file is checked every second, and a token's record on a bucket is cached for
fourteen, so that changes count within the promised two and fifteen seconds.

Passwords that were right lately have turns of their own for hashing. The rate limit alone does
not stop an attacker with many networks from filling the queue. So a second `ConcurrencyLimit`
stands before the threads for hashes, and keeps one of these threads free of unknown clients.

A failed login is counted after it has failed. Counting before the check, and giving back after it,
would refuse a right password, or delay it, while others of its network are checked. So the few
logins that are checked at one moment may exceed the limit.

A rotation stores the new token first, and a rotated token names its successor. So a crash leaves
two working tokens and never none, and within the overlap the name of both means the new token. The
compare-and-swap on the old record decides between two rotations. The new token of the other
rotation is revoked before anybody has seen it.

A token that expires soon is logged when it is used, which costs no request. The metric needs a
listing, so it is counted in the background, at most once an hour, and only by a process whose
metrics are read.

A token made over HTTP has an owner. A token from the command line has no owner unless the command
names one: its maker has the store anyway. When a token with an owner is used, it is limited to what
its owner may do. It changes no rights and makes no token: else the work of a thief would outlive
the stolen token.

A name can get another owner, so the owner of a token is told apart by more than the name: a person
of a provider by an id that the provider never changes, and a name of the htpasswd file by the
digest of its line. So an operator who writes another line ends the tokens.

Earlier versions let people change their password in the browser, and kept the new password in the
store. The line of such a person in the file may have a password that others know, so the line does
not count until it is replaced.
"""
