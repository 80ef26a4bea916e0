"""Commands of ``fairlead node``, one module for each verb, and its group."""
