"""Settings with a grant of each kind, and the secrets in the files that they name."""

import base64
import hashlib

from tests.settings.written import PUBLISHER

PASSWORD = "correct horse battery staple"
STATIC = "a static token, of any text"
WEAK = (
    "{SHA}"
    + base64.b64encode(hashlib.sha1(PASSWORD.encode(), usedforsecurity=False).digest()).decode()
)
ROBOT = "serviceAccount:ci@acme.iam.gserviceaccount.com"
SETTINGS = f"""
[access]
htpasswd_file = "users"
static_tokens_file = "tokens.toml"
private_names = ["pay-*", "treasure"]

[google.id_token]
audience = ["https://packages.example.com"]

[trusted_publishing]
audience = ["packages.example.com"]

[[grant]]
who = ["domain:acme.dev"]
projects = ["acme-*"]
actions = ["read"]
note = "everyone employed"

[[grant]]
who = ["user:ana@acme.dev", "htpasswd:ml-ci"]
projects = ["Acme_*", "tools"]
actions = ["manage"]

[[grant]]
who = ["allAuthenticated"]
projects = ["open-*"]
actions = ["read"]

[[grant]]
who = ["{ROBOT}#123"]
projects = ["robots"]
actions = ["upload"]

[[grant]]
who = ["{ROBOT}", "htpasswd:ml-ci"]
projects = ["robot-*"]
actions = ["read"]
{PUBLISHER}"""
