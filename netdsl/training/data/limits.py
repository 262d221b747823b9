"""How much a data set may hold."""

MAX_BYTES = 4 * 2**30  # of all its arrays
MAX_CLASSES = 5_000  # their confusion matrix takes 200 MB
