"""What several layers say alike, that are ways to do the same."""
