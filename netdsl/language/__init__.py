"""From the text of a spec to its graph: syntax, expressions, blocks, lowering."""
