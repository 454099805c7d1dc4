"""FHIRPath as R4 uses it (FHIRPath N1, 1.0/2.0 normative; R4 fhirpath.html).

`parser` turns text into the nodes of `syntax`; everything else walks those nodes.
"""
