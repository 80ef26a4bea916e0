"""Commands of ``fairlead volume``, one module for each verb, and its group."""
