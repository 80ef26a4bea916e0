"""The lab: hosts as network namespaces on one machine, each with a daemon of its own.

Layer L5. It makes namespaces, an underlay between them, and starts daemons as programs, never by import. The machine's
own network namespace stays as it is: the bridge of the underlay lives in a namespace, too. Everything of a lab lies in
one directory and is found again from there after a crash. Front door: ``lab.Lab``.
"""
