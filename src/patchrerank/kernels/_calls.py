"""Kernels that other kernels call by their address, so that each is compiled once.

What a kernel calls by name is optimised, and code is made of it, once more in each that does. An
address travels as an argument: code that is kept on disk holds none.
"""

from __future__ import annotations

from typing import Any

from numba.core import cgutils
from numba.core import types as numba_types
from numba.extending import intrinsic

types: Any = numba_types


def caller_of(*kinds: Any) -> Any:
    """Return what calls a kernel that takes such arguments and returns nothing.

    It takes the kernel's address and a tuple of the arguments.
    """

    def call(context: Any, address: Any, arguments: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            convention, values = context.call_conv, cgutils.unpack_tuple(builder, args[1])
            kind = convention.get_function_type(types.none, kinds)
            kernel = builder.inttoptr(args[0], kind.as_pointer())
            status, _ = convention.call_function(builder, kernel, types.none, kinds, values)
            with cgutils.if_unlikely(builder, status.is_error):
                convention.return_status_propagate(builder, status)
            return context.get_dummy_value()

        return types.void(types.int64, types.Tuple(kinds)), build

    return intrinsic(call)


def address_of(kernel: Any, *kinds: Any) -> int:
    """Return the address of a kernel's form for arguments of these types."""
    kernel.compile(kinds)
    found = kernel.overloads[kinds]
    address: int = found.library.get_pointer_to_function(found.fndesc.llvm_func_name)
    return address
