"""For how many samples a fast module is made."""

SAMPLES = 32
"""How many samples of a batch one worker is thought to have where nobody says it."""
