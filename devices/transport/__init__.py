"""Transports: bytes over serial lines, TCP, pseudo-terminals, Modbus and memory.

The one home of ``serial`` and ``pymodbus``. A transport moves bytes and records them raw;
a ``Conversation`` makes frames, questions and answers of them. Neither knows what the
bytes mean: that is the driver's.
"""
