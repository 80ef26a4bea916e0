"""The Docker Engine API of a node on a Unix socket, and the small client for it.

Layer E. Promise: ``server.serve`` answers Docker's own clients out of anything that fits ``contract.Node``; every
handler only decodes, submits one command, encodes. Bad input is a 4xx with a sentence, never a 500.
``client`` needs the standard library alone, so that the command line starts fast. This file stays empty of imports.
"""
