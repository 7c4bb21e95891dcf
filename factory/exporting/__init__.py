"""Exporting: immutable dataset versions, and the shapes they are written in."""

from factory.exporting.export import Exported, export
from factory.exporting.formats import formats
from factory.exporting.versions import DatasetVersion, freeze, load_version

__all__ = ["DatasetVersion", "Exported", "export", "formats", "freeze", "load_version"]
