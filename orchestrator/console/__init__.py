"""What front ends may ask for and see."""
