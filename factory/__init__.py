"""Prefactory: a factory for on-policy preference data.

In a notebook:

    import factory
    con = factory.connect("workspace")          # a DuckDB connection with every table and view
    con.sql("select * from pair_stats").df()    # or .to_arrow_table(), .pl()
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    import duckdb

__version__ = "0.1.0"


def connect(
    workspace: str | Path = ".", *, at: str | datetime | None = None
) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB with every table and view of a workspace, as they are now.

    Runs are not disturbed, and rows written later are not seen: connect again for those.

    Args:
        workspace: its directory.
        at: a dataset version's id, or a time: the lake as it was then.

    Raises:
        UserError: when the directory is no workspace, or there is no such version.
    """
    # Here and not above: `import factory` must stay quick for the command line.
    from pathlib import Path

    from factory.recipe import workspace_config
    from factory.store import open_store

    path = Path(workspace)
    urls = workspace_config(path)
    return open_store(path, ledger_url=urls.ledger, lake_url=urls.lake).connect(at=at)
