"""``python -m theory.proofs``: Coq checks every theorem; each is printed as a sentence and as what is proved."""

from __future__ import annotations

import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from theory.proofs import ASSUMED, ProofError, check_file, missing, theorems


def main(arguments: list[str] | None = None) -> int:
    """Run the command line, which takes no options.

    Returns:
        0; 1 where a proof does not check; 2 for any argument, and where Coq is missing.
    """
    given = sys.argv[1:] if arguments is None else arguments
    reason = f"takes no arguments, got {' '.join(given)}: it checks and prints every theorem" if given else missing()
    if reason is not None:
        print(f"theory.proofs: {reason}", file=sys.stderr)
        return 2
    try:
        with ThreadPoolExecutor() as pool:
            list(pool.map(partial(check_file, anew=True), ASSUMED))
    except ProofError as error:
        print(f"theory.proofs: {error}", file=sys.stderr)
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
