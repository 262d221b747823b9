"""The network as live layer objects."""
