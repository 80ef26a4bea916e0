"""Commands of ``fairlead service``, one module for each verb, and its group."""
