"""
Logs, metrics and traces of a server.

`http/observability/instrumentation.py` sees the start and the end of each request: its duration
goes into a histogram and, where a setting asks for it, a line into the access log.
`storage/instrumented.py` times each verb of the store, `upstream/observation.py` counts what
upstream indexes are asked. All are prometheus-client's own objects, which `Instrumentation` puts
into one registry. Several workers keep them in files of one folder (`PROMETHEUS_MULTIPROC_DIR`),
and `http/observability/instrumentation.py` shows the sums, whichever worker is asked.

A log line belongs to the request for which it is written, in whichever thread: `logs.py` keeps
the request in a context variable that threads inherit, and `logs.py` adds its trace and its
client's address. `operations/audit_log.py` logs who changed what: `catalog/commits.py` calls it
for each event right after the commit point. The journal is the record that counts; the log is a
copy. A thread writes the access log, so that no request waits for standard error.

OpenTelemetry is an extra, imported only if a collector is configured. Its instrumentation of ASGI
makes the spans of requests; `opentelemetry.py` gives it a copy of each request without the query,
the headers and the tokens in a path, which it would send on.

There is one log, on standard error. Cloud Run, App Engine and GKE read JSON there as well as on
standard output, which belongs to what the program prints: the first token must never be in a log.
"""
