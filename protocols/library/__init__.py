"""Parts that several procedures share."""
