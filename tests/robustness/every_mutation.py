"""All repairs that can be switched off."""

from tests.robustness import mutations_members
from tests.robustness.mutations import MUTATIONS, Mutation, first_finding

__all__ = ["MUTATIONS", "Mutation", "first_finding", "mutations_members"]
