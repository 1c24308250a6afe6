"""A toy daemon as a process of its own, for ``test_client``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.unit.console.toy import served


async def main(path: Path) -> None:
    async with served(path):
        print("serving", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
