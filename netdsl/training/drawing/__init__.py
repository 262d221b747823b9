"""Drawing with matplotlib: the style, curves, strips of images."""
