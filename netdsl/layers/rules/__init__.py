"""Rules that several layers share: sizes and places of windows."""
