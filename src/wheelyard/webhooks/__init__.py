"""
Webhooks: other systems are told what happens to projects, at least once and in order.

Nothing of this package runs in an upload, or in any other request that changes something. What is
sent comes from the journals alone (`journal_messages.py`), which the feed of each index leads to.
So nothing is lost by a crash, and a message is the same on each server and after each restart.

One process of each server has a thread (`dispatcher.py`) that looks at the feed. If there is
something new, it takes a lease of 30 seconds, so that one server at a time delivers, and starts a
thread for each webhook that has something to get: one that hangs delays no other. Nobody holds the
lease while nothing is to be sent, and then nothing but the feed is read.

The thread of a webhook (`delivery.py`) sends message after message (`sender.py`), and writes how
far it is once a batch, by compare-and-swap. Whoever dies before has sent messages that come again,
with the same ids. A message that fails is tried again for a day. Meanwhile later ones of the same
project wait behind it, and other projects go on. Then it is a dead letter, until somebody sends it
again.

Before each try the lease has to last longer than the try may take. So a process that has stood
still does not send what another one is sending.
"""
