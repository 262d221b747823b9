"""How the tests that draw whole programs draw them."""

from hypothesis import HealthCheck, settings


def drawn(count, normal):
    """The same examples in every run, up to `normal` of them; more are drawn anew."""
    return settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=count <= normal,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
