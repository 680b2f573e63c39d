"""``python -m theory.proofs``: Coq checks every theorem; each is printed as a sentence and as what is proved."""

from __future__ import annotations

import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from inspo.command_line import UserError, exit_code
from theory.proofs import ASSUMED, ProofError, check_file, missing, theorems


def main(arguments: list[str] | None = None) -> int:
    """Run the command line, which takes no options.

    Returns:
        0; 1 where a proof does not check; 2 for any argument, and where Coq is missing.
    """
    given = sys.argv[1:] if arguments is None else arguments
    return exit_code(lambda: check(given), "stopped")


def check(given: list[str]) -> int:
    """Check and print every theorem; the exit status.

    Raises:
        UserError: there are arguments, or Coq is missing.
    """
    if given:
        raise UserError(f"takes no arguments, got {' '.join(given)}: it checks and prints every theorem")
    if (reason := missing()) is not None:
        raise UserError(reason)
    try:
        with ThreadPoolExecutor() as pool:
            list(pool.map(partial(check_file, anew=True), ASSUMED))
    except ProofError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for file, axioms in ASSUMED.items():
        rests_on = f"rests on Coq's axioms of the real numbers: {', '.join(sorted(axioms))}" if axioms else "no axioms"
        print(f"{file}: {rests_on}\n")
        for stated in theorems().values():
            if stated.file == file:
                print(textwrap.fill(f"{stated.paper}. {stated.sentence}", 100))
                print(textwrap.indent(f"{stated.name} {stated.statement}\n", "    "))
    print(f"Coq has checked {len(theorems())} theorems in {len(ASSUMED)} files.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
