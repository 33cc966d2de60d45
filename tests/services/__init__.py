"""
The services that keep an index's objects, each as a test uses it: Google's, S3's and Azure's.

`service.py` yields a `Service`: the project's own fake of Cloud Storage, or an emulator that others
made (moto's S3, Azurite) behind a proxy of ours. All of them have the same faults, the same log of
requests, and a look at a bucket past the wire, so that the same tests run on each.
"""
