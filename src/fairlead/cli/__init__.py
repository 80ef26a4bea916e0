"""The command line: Docker's grammar over the API of a node.

Layer L5. Promise: it knows a daemon only through ``fairlead.api.client`` and starts fast (cold ``network ls`` within
120 ms, ``--help`` within 60 ms): each command lives in a module of its own that is loaded when it is called, and
nothing here imports aiohttp, msgspec or asyncio. This file stays empty of imports.
"""
