"""What puts the product to the proof: it breaks what the daemon stands on, and looks.

Nothing that runs a batch imports it, and a daemon never loads it.
"""
