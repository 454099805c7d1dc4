"""The mapping language: from a feed's message to FHIR resources, by data files.

yamldoc reads YAML with line numbers, expression parses the formulas in it, library puts files and
overlays together, compile turns them into closures (code, closures), types holds them against the
R4 definitions, run executes them on one message, trace and explain say what happened. Feeds bring a
`Source` (source.py), which knows their paths. No database, no clock, no randomness.
"""
