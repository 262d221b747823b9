"""`netdsl bench`: how fast the NumPy module, the layer objects and PyTorch are, and how much memory they take.

Every contestant works in a process of its own (`worker`), driven by a `child.Child`; `match` lets them work turn about,
so that whatever disturbs the machine disturbs all alike, and makes a `report.Report`. `contestants` says what each is.
A `guard.Guard` sees to it that nothing outlives the bench.
"""

WORKERS = ("auto", "threads", "processes")
"""How the NumPy module may share its work."""

LIMIT = 600.0
"""Seconds that the answers of a contestant may take, all together."""
