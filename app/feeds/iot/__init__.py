"""Devices: JSON, MQTT and Bluetooth payloads, and the FHIR resources they become.

messages.py      bodies to messages: one JSON value, an array, NDJSON; the envelope
ieee11073.py     medical device numbers: SFLOAT, FLOAT, EUI-64
ble_gatt.py      Bluetooth characteristics to named readings
mqtt.py          the subscriber: acknowledges a message when it is durable
mqtt_packets.py  its packets
forms.py         messages of one shape, read without asking their mapping again
source.py        a message as the mapping language sees it
convert.py       messages to transaction Bundles
"""
