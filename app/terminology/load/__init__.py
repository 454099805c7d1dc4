"""Reading what `yilian load` is given, format by format; writing it is the store's part.

sources.py      files, folders, packages and archives as a sequence of things to load
resources.py    resources one by one out of JSON, NDJSON, Bundles and packages
code_system.py  the concepts of a CodeSystem resource
code_list.py    a code list in CSV
rf2.py          a SNOMED CT snapshot release
"""
