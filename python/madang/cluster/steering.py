"""Which slot gets the next connection: pure choices and the program that carries them out.

The kernel keeps the sockets of one SO_REUSEPORT group in the order in which they began to listen,
which is the slot order here. A classic BPF program draws one of the live slots at random: evenly
(`ld rand; mod n; jump table`) or by weights (`ld rand; and 65535; ladder of bounds`). A slot that
is not ready gets no new connection, and what was queued on its socket before is accepted by a
neighbour. With no live slot at all every slot stays in the program: connections wait in the accept
queues for the first one that comes back.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Collection, Sequence

from madang.cluster.balance import SHARES

SO_ATTACH_REUSEPORT_CBPF = 51
LOAD_RANDOM = (0x20, 0, 0, 0xFFFFF000 + 56)  # BPF_LD|BPF_W|BPF_ABS, SKF_AD_OFF + SKF_AD_RANDOM
MODULO = 0x94  # BPF_ALU|BPF_MOD|BPF_K
JUMP_EQUAL = 0x15  # BPF_JMP|BPF_JEQ|BPF_K
JUMP_GREATER_EQUAL = 0x35  # BPF_JMP|BPF_JGE|BPF_K
AND = 0x54  # BPF_ALU|BPF_AND|BPF_K
RETURN_CONSTANT = 0x06  # BPF_RET|BPF_K
INSTRUCTION = struct.Struct("=HBBI")

Instruction = tuple[int, int, int, int]


def program(live: Collection[int], slots: int) -> list[Instruction]:
    """Return the program that spreads evenly over `live` (all of `slots` when none is live)."""
    chosen = sorted(live) or list(range(slots))
    code: list[Instruction] = [LOAD_RANDOM, (MODULO, 0, 0, len(chosen))]
    for index, slot in enumerate(chosen[:-1]):
        code += [(JUMP_EQUAL, 0, 1, index), (RETURN_CONSTANT, 0, 0, slot)]
    code.append((RETURN_CONSTANT, 0, 0, chosen[-1]))
    return code


def weighted_program(bounds: Sequence[tuple[int, int]]) -> list[Instruction]:
    """Return the program that draws by `balance.thresholds`."""
    code: list[Instruction] = [LOAD_RANDOM, (AND, 0, 0, SHARES - 1)]
    for slot, bound in bounds[:-1]:
        code += [(JUMP_GREATER_EQUAL, 1, 0, bound), (RETURN_CONSTANT, 0, 0, slot)]
    code.append((RETURN_CONSTANT, 0, 0, bounds[-1][0]))
    return code


def neighbours(live: Collection[int], slots: int) -> dict[int, int]:
    """Return for each slot that is not live the live slot that accepts in its stead.

    That is the next one round the circle; empty when no slot is live.
    """
    if not live:
        return {}
    ring = sorted(live)
    return {
        slot: next((other for other in ring if other > slot), ring[0])
        for slot in range(slots)
        if slot not in live
    }


def attach(listener: socket.socket, code: list[Instruction]) -> None:
    """Put `code` on the whole group that `listener` belongs to. Needs no privilege."""
    packed = b"".join(INSTRUCTION.pack(*instruction) for instruction in code)
    buffer = ctypes.create_string_buffer(packed, len(packed))
    option = struct.pack("@HP", len(code), ctypes.addressof(buffer))
    listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, option)
