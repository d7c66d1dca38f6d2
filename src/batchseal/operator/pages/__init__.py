"""The pages: a module for each, which asks the database and fills in a template."""
