"""The engine of the cell: recipes, journal, people and the console they work through."""
