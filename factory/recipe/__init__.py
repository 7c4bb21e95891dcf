"""The recipe: one YAML file that says what a run does. Only this room reads the environment."""

from factory.recipe.endpoint import Endpoint, Price
from factory.recipe.loading import (
    WorkspaceConfig,
    default_workspace,
    load,
    workspace_config,
)
from factory.recipe.model import Gate, Pool, Recipe, Sampling

__all__ = [
    "Endpoint",
    "Gate",
    "Pool",
    "Price",
    "Recipe",
    "Sampling",
    "WorkspaceConfig",
    "default_workspace",
    "load",
    "workspace_config",
]
