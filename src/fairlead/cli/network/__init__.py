"""Commands of ``fairlead network``, one module for each verb, and its group."""
