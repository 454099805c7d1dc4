"""The mapping language: from a feed's message to FHIR resources, by data files.

yamldoc reads YAML with line numbers, expression parses the formulas in it, library puts files and
overlays together (tables: conceptmaps). compile, objects and formulas decide what every rule does
and hold it against the R4 definitions (types); code and forms say it in statements, and writer
makes them functions when they are first called; for messages of a kind that comes often specialise
makes these over. run executes them on one message with memory, mentions and tables; trace and
explain say what happened. Feeds bring a `Source` (source.py), which knows their paths. No database,
no clock, no randomness.
"""
