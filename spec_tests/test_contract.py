"""Requirements of every implementation, whatever it claims."""

from transpec.judgement import assert_choices_are_known, assert_loads, assert_names_are_spelt_right
from transpec.requirements import must, should


@must("contract.loads", "the contract: any module or object with attributes named after operations")
def test_loads(implementation):
    """An implementation can be imported, its declarations make sense, and it claims at least one operation."""
    assert_loads(implementation)


@must("contract.choices", "the contract: CHOICES holds requirement ids and declared choices")
def test_choices(implementation):
    """Every declared choice names a requirement that allows choices and one of the answers that it allows."""
    assert_choices_are_known(implementation)


@should("contract.names", "the contract: an operation is claimed by its exact name")
def test_names(implementation):
    """No public attribute has nearly the name of an operation that the implementation lacks."""
    assert_names_are_spelt_right(implementation)
