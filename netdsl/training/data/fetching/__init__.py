"""Data sets from the network: mirrors, what they send, how it is checked, and where it is put."""
