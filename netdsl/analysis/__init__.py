"""Questions about a graph, answered: counts, memory, the summary."""
