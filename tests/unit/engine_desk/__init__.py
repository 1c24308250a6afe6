"""The desk and the actor of an engine, on an emulated cell."""
