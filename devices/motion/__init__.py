"""Kinematics of the arms."""
