"""What FHIR R4 (4.0.1) is: definitions, data types, validation, search values. Pure, no I/O
beyond reading the packaged definitions."""
