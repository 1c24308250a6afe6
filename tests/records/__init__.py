"""Do journals and recipes of every past release still open?"""
