"""Commands of ``fairlead stack``, one module for each verb, and what Compose files mean for a cluster."""
