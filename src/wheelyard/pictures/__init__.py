"""
Pictures of other servers in descriptions, fetched by the index, so that they learn of no reader.

It is off by default (`[web] pictures`), and then nothing of this package is imported.

1. The process that renders a description (`operations/descriptions/child.py`) writes the source of
   each picture as it is. When a page shows the description, each `https` URL is replaced by a path
   of the index, which `signing.py` makes: the URL, and a signature of it by a key of the store. So
   the index fetches what its own pages show, and nothing else, and all servers of a store agree.
2. `http/handlers/pictures.py` answers at that path whoever may read anything here. It asks
   `proxy.py`, which keeps pictures in memory for an hour, failures for two minutes, and pictures
   that cannot be fetched again for a day. All who wait for a picture share one request.
3. A picture is fetched by the requester of `http_client/`: from public addresses only, over HTTPS,
   also after a redirect, within limits of size and time. No header of a reader is sent.
4. `formats.py` looks at the first bytes, and takes known types alone, whatever the server says that
   it has sent. Nothing is decoded: what a picture says of its width and height is left to the
   browser. SVG is sent with a policy that forbids scripts and everything from elsewhere.
5. What cannot be shown is a 404 that says why, so that browsers show the alternative text, and a
   line of the log. The picture is a link to its original unless the description has one around it.
"""
