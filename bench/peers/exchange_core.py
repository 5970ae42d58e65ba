"""exchange-core: the Java engine whose published benchmark the flow copies, risk engine on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from bench.harness import CACHE, PeerMissing, run, say

VERSION = "0.5.3"
DRIVER = Path(__file__).with_name("ExchangeCoreDriver.java")
POM = f"""<project><modelVersion>4.0.0</modelVersion>
<groupId>bench</groupId><artifactId>peers</artifactId><version>1</version><dependencies>
<dependency><groupId>exchange.core2</groupId><artifactId>exchange-core</artifactId>
<version>{VERSION}</version></dependency></dependencies></project>
"""
# Its serialisation reaches into the JDK, which newer ones forbid by default.
OPENED = (
    "java.base/java.lang", "java.base/java.lang.reflect", "java.base/java.nio", "java.base/java.io",
    "java.base/java.util", "java.base/sun.nio.ch", "java.base/jdk.internal.ref",
    "java.base/jdk.internal.misc", "jdk.unsupported/sun.misc",
)  # fmt: skip
RUN_TIMEOUT_S = 60


def run_exchange_core(flow_file: Path) -> dict[str, object]:
    """Compile the driver where that is not done yet, run it over the flow, return its result."""
    for tool in ("mvn", "javac", "java"):
        if shutil.which(tool) is None:
            raise PeerMissing(f"{tool} is not installed")
    folder = CACHE / f"exchange-core-{VERSION}"
    jars = folder / "jars"
    if not (folder / ".installed").exists():
        say("installing exchange-core")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "pom.xml").write_text(POM, encoding="utf-8")
        run(
            ["mvn", "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={jars}"],
            cwd=folder,
        )
        (folder / ".installed").touch()
    run(["javac", "-nowarn", "-cp", f"{jars}/*", "-d", str(folder), str(DRIVER)])
    opened = [part for name in OPENED for part in ("--add-opens", f"{name}=ALL-UNNAMED")]
    output = run(
        ["java", "-Xms1g", "-Xmx4g", *opened, "-cp", f"{folder}:{jars}/*", "ExchangeCoreDriver",
         str(flow_file)],
        timeout_s=RUN_TIMEOUT_S,
    )  # fmt: skip
    result = json.loads(output.strip().splitlines()[-1])
    assert isinstance(result, dict)
    return result
