"""The language: text to syntax tree (parser.py), syntax tree to text (printer.py)."""
