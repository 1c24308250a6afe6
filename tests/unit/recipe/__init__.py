"""The recipe: model, author's words, calculations, rules, check, child, render, diff."""
