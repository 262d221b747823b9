"""How the tests that draw whole programs draw them."""

from hypothesis import HealthCheck, settings


def drawn(count, normal):
    """The same `normal` examples in every normal run; any other count draws anew."""
    return settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=count == normal,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
