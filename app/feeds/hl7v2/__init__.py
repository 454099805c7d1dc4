"""HL7 v2: bytes to messages, acknowledgement, MLLP and conversion.

er7 (with charset and escapes) reads one message, split finds messages in files and frames, ack
answers, mllp listens, send is a client, check validates by the standard's own tables.
"""
