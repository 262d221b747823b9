"""The meaning of a network: its types and graph, and the recipe that trains it."""
