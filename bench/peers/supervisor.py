"""Our side of the benchmarks of the cluster: a supervisor in the foreground, its settings as JSON.

Prints one line when every instance is ready for the first time.
"""

from __future__ import annotations

import json
import sys

from madang.cluster.entries import decode
from madang.cluster.foreground import become_supervisor

if __name__ == "__main__":
    become_supervisor(decode(json.loads(sys.argv[1])), "serving")
