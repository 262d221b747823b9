"""What netdsl needs of an operating system, and what it does where a system has none of it.

Only the modules here and `workers`, whose text stands alone in emitted modules, ask which system this is, or name what
not every system has: fork, /proc, signals, process groups, hard links, how a file is opened. tests/test_system.py holds
that.
"""
