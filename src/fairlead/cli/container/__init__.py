"""Commands of ``fairlead container``, one module for each verb, and its group."""
