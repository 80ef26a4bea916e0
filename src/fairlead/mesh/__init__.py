"""The HTTP mesh: services with routes to the configuration of a proxy. Pure.

It knows labels, routes and HAProxy's language; it starts no program, opens no socket and reads no file. Public:
``labels`` (what services say), ``routes`` (who has which), ``wish`` (all that a proxy is to do), ``layout`` (where in the
proxy that is), ``configuration`` (the text it starts with), ``change`` (what makes one layout another), ``metrics``.
"""
