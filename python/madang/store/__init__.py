"""SQL through SQLAlchemy Core: tables, migrations, connections."""
