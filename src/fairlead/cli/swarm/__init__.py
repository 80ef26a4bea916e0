"""Commands of ``fairlead swarm``, one module for each verb, and its group."""
