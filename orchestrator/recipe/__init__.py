"""Recipes: written by a scientist's Python file, checked from claims, frozen as data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.recipe.author import Writer, procedure

__all__ = ["Writer", "procedure"]


def __getattr__(name: str) -> Any:
    """Give the author's words when they are asked for, since they take time to import."""
    if name in __all__:
        from orchestrator.recipe import author

        return getattr(author, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
