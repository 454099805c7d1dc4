"""Doors for messages that institutions send: the inbox, the dispatcher, one package per feed."""
