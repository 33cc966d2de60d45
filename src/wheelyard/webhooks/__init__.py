"""
Webhooks: other systems are told of changes of projects, at least once and in order.

Nothing of this package runs in an upload, or in any other request that makes a change. Messages are
made from the journals alone (`journal_messages.py`), to which the feed of each index leads. So no
message is lost by a crash, and a message is the same on each server and after each restart.

One process of each server has a thread (`dispatcher.py`) that looks at the feeds. If a feed has new
commits, the process takes a lease of 30 seconds (`lease.py`), so that one server at a time
delivers. It starts a thread for each webhook that has to be told of them: a receiver that hangs
delays no other. Nobody holds the lease while nothing is to be sent, and then only feeds are read.

The thread of a webhook (`delivery.py`) sends message after message (`sender.py`). After each batch
it writes by compare-and-swap up to where it has sent them. If its process dies before the write,
the messages of the batch are sent again, with the same ids. A message that fails is tried again for
a day. Meanwhile later messages about the same project wait, and other projects go on. Then the
message is a dead letter, until somebody sends it again.

Before each try the lease has to last longer than the try may take. So a process that has stood
still does not send a message that another process is sending.
"""
