"""The training itself: epochs, what watches them, how they fail."""
