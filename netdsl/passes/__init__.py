"""Passes from a graph to the stages that compute it fast (-O2). Pure: each makes a new plan."""
