"""DICOM: what modalities and archives send, and the FHIR resources it becomes.

scp.py      C-ECHO and C-STORE over the network          bytes in, a status out
send.py     C-STORE of files to a hub                    bytes out
encoding.py the elements of a Part 10 file without its pixels
dataset.py  a data set read by keyword: encoded or DICOM JSON
charset.py  text, values.py names, dates and times
source.py   a data set as the mapping language sees it
convert.py  data sets of one study to one transaction Bundle
status.py   errors as C-STORE status codes
"""
