"""The language: text to syntax tree, by the grammar in grammars/net.lark."""
