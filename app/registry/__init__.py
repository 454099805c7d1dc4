"""Identifiers: what a code is (`parse`), and the keys that an identifier is found by."""

from app.registry.keys import canonical_keys, udi_keys
from app.registry.parse import parse
from app.registry.reading import Candidate, Names, Parsed, Problem

__all__ = ["Candidate", "Names", "Parsed", "Problem", "canonical_keys", "parse", "udi_keys"]
