"""Users, roles, competence and signatures."""
