"""How the tests that draw, or go through a long list, do a part of it in each run and all of it in the slow tests."""

import pytest
from hypothesis import HealthCheck, given, settings


def in_part(name, part, whole, what):
    """The argument `name` of a test is `part` in each run, and `whole` in the slow test, which is called `what`."""
    return pytest.mark.parametrize(name, [part, pytest.param(whole, marks=pytest.mark.slow(what))])


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


def drawn_in_part(part, whole, what, *strategies):
    """A test of drawn arguments: of `part` examples in each run, of `whole` in the slow test."""

    def decorate(check):
        @in_part("examples", part, whole, what)
        def test(examples):
            drawn(examples, whole)(given(*strategies)(check))()

        test.__name__, test.__doc__ = check.__name__, check.__doc__
        return test

    return decorate
