"""
Messages to whoever approves public packages: a text to a webhook when something waits.

It is off by default (`[notifications]`), and then nothing of this package is imported.

One thread of each server looks every five minutes at the list of requests (`notifier.py`). If
something waits that no message has told of, the servers agree by a lease which of them sends one
message about all of it, at most one in an hour, also if that fails. That the webhook
(`webhook.py`) has taken it is written into the list afterwards. If the webhook has the message
without having said so, or the process dies in between, it comes again an hour later: a message may
come twice, and is never lost. No request of a client waits for any of that.
"""
