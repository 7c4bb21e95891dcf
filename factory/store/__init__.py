"""The store: a ledger for what changes, a lake for what is true, SQL over both."""

from factory.store.calls import CallIntent, CallResult, CallRow
from factory.store.ledger import Ledger
from factory.store.store import Store, open_store

__all__ = ["CallIntent", "CallResult", "CallRow", "Ledger", "Store", "open_store"]
