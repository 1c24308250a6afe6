"""Labels, the identity gate and genealogy."""
