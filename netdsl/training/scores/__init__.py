"""What a network is asked to do with its data, and how well it does."""
