"""Search: from parameters to one planned statement and a page of stored bodies.

Order of work: `parse` reads names and values; one module a parameter type turns them into
`conditions`; `plan` chooses what drives and builds the SQL; `page` runs it. R4 search.html.
"""
