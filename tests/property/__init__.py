"""Is it true for all inputs?"""
