"""The paid-call client: requests to an endpoint, their pace, price and replies; no call is lost.

`calls` asks one at a time, `batch` through a vendor's batch interface. What a reply means for a
pair is not known here.
"""
