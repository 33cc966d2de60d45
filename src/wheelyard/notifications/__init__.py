"""
Messages to whoever approves public packages: a line to a webhook, or mail, when something waits.

It is off by default (`[notifications]`), and then nothing of this package is imported.

One thread of each server looks every five minutes at the list of requests (`notifier.py`). If
something waits that no message has told of, the servers agree by a lease which of them sends one
message about all of it, at most one in an hour. What was told of is written into the list after
each channel (`channels.py`) has taken the message. A process that dies between both sends it again,
or another one does: a message may come twice, and is never lost. No request of a client waits for
any of that.
"""
