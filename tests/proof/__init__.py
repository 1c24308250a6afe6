"""What proves the proof."""
