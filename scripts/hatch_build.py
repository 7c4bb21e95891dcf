"""Build hook: what a person edits travels in the wheel as data of the package.

The content rooms live at the repository's root, where they are found and edited, and have generic
names that must never become top-level packages. A wheel carries them under `factory/_rooms/`; an
editable install carries nothing, so that the files of the checkout are the ones that are read.
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOMS = ("prompts", "judges", "storage", "recipes", "flows")


class ContentRooms(BuildHookInterface[Any]):
    """Adds every content room to a standard wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Map each room to its place; a room without a file is no folder in a checkout.

        Args:
            version: "standard" for a wheel, "editable" for an editable install.
            build_data: what hatchling will build; `force_include` maps source to target.
        """
        if version != "standard":
            return
        for room in ROOMS:
            folder = Path(self.root) / room
            if folder.is_dir():
                build_data["force_include"][str(folder)] = f"factory/_rooms/{room}"
