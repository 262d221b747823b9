"""What everything stands on: sources and diagnostics, names, symbols, files, markup."""
