"""`python -m factory` is `prefactory`."""

from factory.cli import main

main()
