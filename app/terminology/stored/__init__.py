"""Code systems with many concepts, in tables of their own.

build.py      concepts as they come: a tree is chosen, numbers are given, rows are made
rows.py       what one row holds, and the statements that write rows
bits.py       sets of concepts: how they are stored, and as integers to calculate with
terms.py      the words of names: how they are stored, how they are asked for
loading.py    the life of a version: begun, filled, ready, replaced
system.py     one version as a `System`
catalogue.py  all versions as a `Catalogue`
"""
