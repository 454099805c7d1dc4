"""Devices: JSON, MQTT and Bluetooth payloads, and the FHIR resources they become.

messages.py      bodies to messages: one JSON value, an array, NDJSON; the envelope
ieee11073.py     medical device numbers: SFLOAT, FLOAT, EUI-64
ble_gatt.py      Bluetooth characteristics to named readings
mqtt.py          the subscriber: acknowledges a message when it is durable
mqtt_broker.py   where it subscribes, and which version of MQTT is spoken there
mqtt_packets.py  its packets
source.py        a message as the mapping language sees it; paths.py, functions.py
convert.py       messages to transaction Bundles
reading.py       the messages of a body to what is handed to the writer (said.py)
forms.py         messages of one shape, read without asking their mapping again
door.py          publications, and what HTTP workers read (intake.py), to the dispatcher
"""
