"""The journal: what happened, in order, on disk before anyone acts on it.

``journal`` appends and reads back; ``merkle`` and ``checkpoints`` make every
later change show; ``verify`` shows it; ``traces`` keeps readings; ``saved_state``
makes starting fast and may always be thrown away. The events themselves are in
``events``; nothing else here knows what they mean.
"""
