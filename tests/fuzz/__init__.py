"""Odd inputs for each surface on which something arrives from outside, and what must hold whatever it is.

A surface says which inputs there are and what becomes of one. Whatever arrives: none of its code runs, it harms nothing
but itself, workers, schedulers and commands go on, and what they print is harmless on a terminal, without secrets and
tracebacks.
"""
