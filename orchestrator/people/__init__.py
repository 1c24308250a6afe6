"""People: who they are, what they may do, that they are present, and what they sign.

``users`` keeps names and passwords, ``roles`` says who may give which command, ``sessions``
lets a person stay logged in, ``signatures`` binds a person's word to one record. Nothing here
keeps state or does input or output: people and sessions come in as values that were folded
from the journal, and what is decided goes back as events and errors.
"""
