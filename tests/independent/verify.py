#!/usr/bin/env python3
"""Checks Lotgate's vectors and exports; written from PROTOCOL.md alone, with Python's standard library alone."""

import argparse
import multiprocessing
import os
import re
import sys

import findings as found
import vectors
from export import check_export
from strict_json import Unreadable

GOOD, FINDINGS, UNREADABLE = range(3)
PROJECT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def fingerprint(text):
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise argparse.ArgumentTypeError("64 lower-case hex digits, the SHA-256 of the root's public key")
    return text


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, epilog="Exit code: 0 all good, 1 findings, 2 usage or unreadable.")
    commands = parser.add_subparsers(dest="command", required=True)
    of_vectors = commands.add_parser("vectors", help="check every vector of the project")
    of_vectors.add_argument("folder", nargs="?", default=PROJECT, help="where to look for folders named vectors")
    of_export = commands.add_parser("export", help="check an export of a queue or of a cloud")
    of_export.add_argument("folder", metavar="DIR")
    of_export.add_argument("--root-fingerprint", required=True, type=fingerprint, metavar="HEX")
    for command in (of_vectors, of_export):
        command.add_argument("--json", action="store_true", help="findings as JSON lines on standard output, nothing else there")
    return parser.parse_args()


def main():
    asked = arguments()
    sys.stdout.reconfigure(errors="backslashreplace")
    findings = found.Findings()
    code = GOOD
    try:
        if asked.command == "vectors":
            figures = vectors.check_vectors(asked.folder, findings)
        else:
            with multiprocessing.Pool() as pool:
                figures = check_export(asked.folder, asked.root_fingerprint, findings, pool)
    except Unreadable as error:
        findings.add("manifest_unreadable", str(error))
        figures, code = {}, UNREADABLE
    except OSError as error:
        print(f"cannot be read: {error}", file=sys.stderr)
        return UNREADABLE
    for finding in findings.all:
        print(found.as_json(finding) if asked.json else found.as_words(finding))
    checked = ", ".join(f"{name} {number}" for name, number in figures.items() if number is not None)
    print(f"{len(findings.all)} findings. Checked: {checked or 'nothing'}", file=sys.stderr if asked.json else sys.stdout)
    return code or (FINDINGS if findings.all else GOOD)


if __name__ == "__main__":
    sys.exit(main())
