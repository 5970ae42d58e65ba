"""Bring a database to the newest schema with alembic, from inside the process that owns it."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine


def _upgrade(connection: Connection, scripts: Path) -> None:
    config = Config()
    config.set_main_option("script_location", str(scripts))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


async def upgrade(engine: AsyncEngine, scripts: Path) -> None:
    """Apply every migration of the folder `scripts` that the database does not have."""
    async with engine.begin() as connection:
        await connection.run_sync(_upgrade, scripts)
