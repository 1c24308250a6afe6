"""Process cell files and their drawings."""
