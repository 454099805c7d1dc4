"""The mapping language: from a feed's message to FHIR resources, by data files.

yamldoc reads YAML with line numbers, expression parses the small formulas in it, library puts files
and overlays together, compile turns them into closures, run executes them on one message, check
tells what is wrong with a mapping before any message does. Feeds bring a `Source` (source.py), which
knows their paths. No database, no clock, no randomness.
"""
