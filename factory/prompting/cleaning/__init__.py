"""What keeps a pool clean: benchmarks' items, near-duplicates, languages and lengths.

Every filter says why: a row that is left out becomes a drop with its reason and its evidence.
"""
