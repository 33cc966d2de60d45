"""
The store in a Cloud Storage bucket.

No other package imports google-cloud-storage. An object is an object, and its generation is
the version.

- `connect.py`: finds credentials, endpoint and signer (a private key, or IAM), builds the store,
  counts operations by price class, and reads a bucket of somebody else
- `store.py`: the single requests (a download is one, resumed on the same generation), Google's
  exceptions as failures, and whose the credentials are

Downloads from a bucket use our own loop over the library's session. The library's reader first
asks for the metadata and then makes a request for each chunk, and each is billed. Ours makes one
request.

URLs are signed by our own code. The library signs with the present moment, so no two URLs are
equal and no client can cache a download. Its `google.auth.iam.Signer` pauses for whole seconds
between retries without a time limit, knows no delegates, and does not tell a missing permission
from other errors.
"""
