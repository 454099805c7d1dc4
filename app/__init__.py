"""Yilian (医联): FHIR R4 interoperability server, terminology hub and identifier resolver."""

__version__ = "0.1.0"
