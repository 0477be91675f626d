"""What the broker and the scheduler promise, as rules: the simulator holds them after each step, the fault suite over
recorded histories.
"""
