"""What front ends may ask for and see: in process, and over the daemon's socket.

``desk`` offers the console on an engine in the same process: who gives a command, and which.
What a command does stands in the file of its group (``receiving``, ``recipes``, ``batches``,
``reporting``, ``verifying``, ``rejecting``, ``reconciling``, ``clearing``, ``equipment``,
``alarms``, ``deviations``, ``people``); they recognise and sign at one ``office``. ``service``
puts any console on a Unix socket, and ``client`` is the same console at the socket's other end.
``text_gate`` stands between outside and both.
"""
