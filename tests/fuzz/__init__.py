"""Fuzzing: the interfaces of a living daemon under requests that are made out of their own descriptions."""
