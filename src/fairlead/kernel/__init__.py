"""The hands: the only room that asks Linux for anything about networking.

It knows plans and how to make them true: ``apply`` replaces what an owner had by what it wants, ``repair`` makes a whole
node true after a crash, ``observe`` tells what stands, ``watch`` tells what strangers change. It knows nothing of
containers, networks or drivers and decides nothing. Everything it makes is marked (link alias, route protocol, table
name, file in the namespace directory); what is not marked is never touched. All calls into Linux that may block run in
one worker thread. Front door: ``fairlead.kernel.apply.Kernel``.
"""
