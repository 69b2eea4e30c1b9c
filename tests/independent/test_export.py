"""Tests of whole exports, built here: right ones have no finding, and each mutation is found under its code.

The mutations are made before the manifest is hashed and sealed, so what finds them is never the manifest, unless said."""

import io
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import unittest

import build_export
import findings
import frames
import merkle
import strict_json
from export import check_export

HERE = os.path.dirname(os.path.abspath(__file__))


class World:
    """Two stations; the first was rolled back and goes on in epoch 2 under a new key."""

    def __init__(self):
        self.tenant = tenant = build_export.Tenant()
        tenant.page(b'{"replace":true,"type":"page"}\n')
        tenant.page(b'{"item":"API-100","type":"item"}\n')
        self.one, self.two = build_export.Station(tenant, 1), build_export.Station(tenant, 2)
        tenant.push(self.one, [self.one.open(), *self.one.scans(3)])
        tenant.push(self.two, [self.two.open(), *self.two.scans(2)])
        self.seen = tenant.checkpoint()
        self.quote(self.one, self.seen)
        exception = {"index": len(tenant.leaves), "verdict": "flagged", "code": "lot_overdrawn"}
        tenant.push(self.one, self.one.scans(2), [exception])
        tenant.verdict(len(tenant.leaves), 0, [{**exception, "verdict": "accepted", "code": "resolved"}], [exception["index"]])
        self.one.renew("station 1, second key")
        tenant.event("key.rotated", "lotgate/rotated/v1", station=self.one.id)
        tenant.push(self.one, [self.one.open(self.one.place()), *self.one.scans(1)])
        tenant.blobs.append(b"label")

    def quote(self, station, tree, hash_=None):
        station.knew = {"snapshot": 2, "hash": hash_ or self.tenant.feed_hash.hex(), "age_ms": 5, "log": tree}

    def keep(self, station):
        """Only what the queue of a station has."""
        self.tenant.entries = {place: kept for place, kept in self.tenant.entries.items() if place[0] == station.id}
        self.tenant.receipts = [frame for frame in self.tenant.receipts if station.id.encode() in frame]


class Exports(unittest.TestCase):
    def found(self, world, kind="cloud", station=None, fingerprint=None, after=None, **options):
        with tempfile.TemporaryDirectory() as folder:
            build_export.write(folder, world.tenant, kind, station, **options)
            if after:
                after(folder)
            found = findings.Findings()
            check_export(folder, fingerprint or world.tenant.fingerprint, found)
            return found

    def expect(self, codes, world, *more, **options):
        """Exactly these codes."""
        found = self.found(world, *more, **options)
        self.assertEqual(found.codes(), set(codes), found.all)
        return found

    def sealed(self, world=None):
        world = world or World()
        world.tenant.checkpoint()
        return world

    def test_a_right_export_of_a_cloud_has_no_finding(self):
        self.expect((), self.sealed())

    def test_a_right_export_of_a_queue_has_no_finding(self):
        world = self.sealed()
        world.keep(world.one)
        self.expect((), world, "queue", world.one)

    def test_a_pruned_queue_needs_a_receipt_for_what_is_gone(self):
        world = self.sealed()
        world.keep(world.one)
        entries = world.tenant.entries[(world.one.id, 1, 0)]
        del entries[:3]
        self.expect((), world, "queue", world.one)
        world.tenant.receipts = world.tenant.receipts[-1:]
        self.expect(("chain_gap",), world, "queue", world.one)

    def test_a_recovered_queue_without_certificates_proves_nothing_and_says_so(self):
        world = World()
        world.keep(world.one)
        tenant = world.tenant
        tenant.certificates, tenant.verdicts, tenant.receipts, tenant.events, tenant.notes, tenant.feed = [], [], [], [], [], []
        self.expect(("root_mismatch", "certificate_missing"), world, "recovered", world.one,
                    after=lambda folder: os.remove(os.path.join(folder, "manifest.sig")))

    def test_a_bit_anywhere_in_any_file_is_found(self):
        world = self.sealed()
        paths = [*build_export.files_of(world.tenant, "cloud"), "manifest.sig"]

        for path in paths:
            def flip(folder, path=path):
                with open(os.path.join(folder, path), "r+b") as file:
                    file.seek(os.path.getsize(file.name) // 2)
                    byte = file.read(1)[0] ^ 1
                    file.seek(-1, os.SEEK_CUR)
                    file.write(bytes([byte]))
            codes = self.found(world, after=flip).codes()
            self.assertTrue(codes & {"file_changed", "manifest_unsigned"}, path)
            self.assertTrue(path == "manifest.sig" or codes - {"file_changed"}, path)

    def test_no_bytes_end_the_verifier_and_none_pass_under_a_good_seal(self):
        world, dice = self.sealed(), random.Random(7)
        paths = [path for path in sorted(build_export.files_of(world.tenant, "cloud"))]
        for turn in range(150):
            def damage(files):
                path = dice.choice(paths)
                data = bytearray(files[path])
                at = dice.randrange(len(data))
                match turn % 4:
                    case 0:
                        data[at] = (data[at] + dice.randrange(1, 256)) % 256
                    case 1:
                        del data[at:]
                    case 2:
                        data[at:at] = dice.randbytes(dice.randrange(1, 80))
                    case _:
                        del data[at:at + dice.randrange(1, 40)]
                files[path] = bytes(data)
            self.assertTrue(self.found(world, change=damage).codes(), turn)

    def test_files_that_are_missing_or_too_many_are_found(self):
        world = self.sealed()
        self.expect(("file_unlisted",), world, after=lambda folder: open(os.path.join(folder, "more.txt"), "w").close())
        self.expect(("file_missing",), world,
                    after=lambda folder: os.remove(os.path.join(folder, "feed.bin")))

    def test_entries_that_are_edited_dropped_inserted_or_exchanged_are_found(self):
        def edit(entries):
            entries[2] = entries[2].replace(b"L-1", b"L-7")

        def edit_and_sign(entries):
            entries[2] = build_export.Key("station 1").sign_text("lotgate/op/v1", entries[2][4:-64].replace(b"L-1", b"L-7"))

        def sign_with_another_key(entries):
            entries[2] = world.two.key.sign_text("lotgate/op/v1", entries[2][4:-64])

        for change, codes in (
                (edit, {"entry_unsigned", "chain_broken", "log_mismatch"}),
                (edit_and_sign, {"chain_broken", "log_mismatch"}),
                (sign_with_another_key, {"entry_unsigned", "chain_broken", "log_mismatch"}),
                (lambda entries: entries.pop(2), {"chain_gap", "log_mismatch"}),
                (lambda entries: entries.insert(2, entries[2]), {"entry_repeated"}),
                (lambda entries: entries.insert(1, entries.pop(2)), {"chain_gap", "chain_broken", "log_mismatch"}),
                (lambda entries: entries.__setitem__(2, entries[2][:-9]), {"entry_unreadable", "log_mismatch"}),
                (lambda entries: entries.pop(), {"entries_missing", "log_mismatch"}),
                (lambda entries: entries.append(world.tenant.entries[(world.two.id, 1, 0)][1]), {"entry_foreign"}),
                (lambda entries: entries.append(b"\0\0\0\x02{}" + bytes(64)), {"entry_unreadable"})):
            world = self.sealed()
            entries = world.tenant.entries[(world.one.id, 1, 0)]
            change(entries)
            codes_found = self.found(world).codes()
            self.assertLessEqual(codes, codes_found)

    def test_the_first_entry_follows_the_certificate_of_the_key_that_signs(self):
        world = World()
        old = world.one.certificate
        world.one.renew("station 1, third key")
        world.tenant.push(world.one, [world.one.open(world.one.place())])
        self.expect((), self.sealed(world))
        world.one.certificate = old
        world.tenant.push(world.one, [world.one.open(world.one.place())])
        self.expect(("chain_broken",), self.sealed(world))

    def test_an_epoch_that_is_missing_or_begins_wrongly_is_found(self):
        world = World()
        world.one.number += 1
        world.tenant.push(world.one, [world.one.open(None)])
        self.expect(("chain_gap",), self.sealed(world))
        world = World()
        world.tenant.push(world.one, [world.one.open({**world.one.place(), "hash": "ab" * 32})])
        self.expect(("epoch_contradiction",), self.sealed(world))

    def test_an_honest_fork_is_told_by_a_statement_and_a_silent_one_is_found(self):
        for told in (False, True):
            world = World()
            one, tenant = world.two, world.tenant
            shared = tenant.entries[(one.id, 1, 0)]
            one.seq, one.head, one.branch = 2, merkle.leaf_hash(shared[1]), 1
            branch = one.scans(2)
            branch[0] = one.key.sign("lotgate/op/v1", strict_json.parse(branch[0][4:-64]) | {"body": {"type": "scan.refused"}})
            one.seq, one.head = 3, merkle.leaf_hash(branch[0])
            branch[1] = one.key.sign("lotgate/op/v1", one.operation({"type": "scan.refused"}))
            tenant.entries[(one.id, 1, 1)] = branch
            first = len(tenant.leaves)
            for frame in branch:
                tenant.leaf(1, frame)
            verdict = tenant.verdict(first, 2)
            tenant.receipt(one, [verdict], 4, merkle.leaf_hash(branch[1]).hex())
            if told:
                tenant.event("fork.found", "lotgate/fork/v1", station=one.id, epoch=one.epoch, seq=3)
            self.expect(() if told else ("fork",), self.sealed(world))

    def test_certificates_are_traced_to_the_fingerprint(self):
        world = self.sealed()
        self.assertLessEqual({"root_mismatch", "certificate_missing"}, self.found(world, fingerprint="00" * 32).codes())
        for use in ("statement", "root"):
            world = World()
            key = build_export.Key("intruder")
            world.tenant.certify(use, key, {"type": "station", "id": world.one.id, "use": "operation", "site": world.tenant.site})
            self.expect(("certificate_invalid",), self.sealed(world))
        world = World()
        world.tenant.keys["root"] = build_export.Key("other root")
        world.tenant.certify("root", build_export.Key("log 2"), {"type": "tenant_key", "id": "x", "use": "log", "site": None})
        self.expect(("certificate_invalid",), self.sealed(world))

    def test_statements_need_the_right_key_context_and_tenant(self):
        members = {"station": build_export.uuid_7(101), "epoch": {"n": 1, "id": "00" * 16}, "through": {"seq": 1, "hash": "00" * 32},
                   "verdicts": [], "previous": "00" * 32, "time": build_export.TIME}
        for options, code in (({"signer": "log"}, "certificate_missing"), ({"context": "lotgate/feed/v1"}, "statement_unsigned"),
                              ({"tenant": build_export.uuid_7(9)}, "statement_unsigned"), ({"time": "now"}, "statement_unreadable")):
            world = self.sealed()
            world.tenant.receipts.append(world.tenant.statement("receipt", **{**members, **options}))
            self.expect((code,), world)

    def test_receipts_that_contradict_are_found(self):
        world = World()
        world.tenant.receipt(world.two, [], 2, "ab" * 32)
        self.expect(("receipt_contradiction",), self.sealed(world))
        world = World()
        world.tenant.receipt(world.two, [], 99, "ab" * 32)
        self.expect(("entries_missing",), self.sealed(world))
        world.tenant.receipt(world.two, [], 99, "cd" * 32)
        self.expect(("entries_missing", "receipt_contradiction"), world)

    def test_a_cloud_that_leaves_out_receipts_is_found(self):
        world = self.sealed()
        world.tenant.receipts.pop(0)
        self.expect(("receipt_missing",), world)
        world = self.sealed()
        world.tenant.receipts.clear()
        self.expect(("receipt_missing",), world)

    def test_verdicts_cover_every_operation_once(self):
        world = World()
        world.tenant.leaf(1, world.one.scans(1)[0])
        self.expect(("verdict_missing", "receipt_missing"), self.sealed(world))
        for arguments in ((5, 1), (len(World().tenant.leaves), 0, (), (0,))):
            world = World()
            world.tenant.verdict(*arguments)
            self.assertIn("verdict_contradiction", self.found(self.sealed(world)).codes())
        world = self.sealed()
        world.tenant.verdicts.pop(0)
        self.expect(("verdict_missing", "log_mismatch"), world)
        world = self.sealed()
        world.tenant.verdicts.pop(2)
        self.assertIn("verdict_contradiction", self.found(world).codes())

    def test_a_verdict_stands_directly_after_what_it_covers(self):
        world = World()
        first = len(world.tenant.leaves)
        world.tenant.leaf(1, world.one.scans(1)[0])
        world.tenant.event("station.retired", "lotgate/retired/v1", station=world.two.id)
        world.tenant.receipt(world.one, [world.tenant.verdict(first, 1)])
        self.expect(("verdict_contradiction",), self.sealed(world))

    def test_a_log_that_numbers_a_chain_out_of_order_is_found(self):
        world = World()
        world.tenant.push(world.one, world.one.scans(2)[::-1])
        self.expect(("log_mismatch",), self.sealed(world))

    def test_the_tree_is_recomputed(self):
        world = World()
        self.expect(("checkpoint_missing",), world)
        world.tenant.checkpoint(tree={**world.tenant.tree(), "root": "ab" * 32})
        self.expect(("checkpoint_mismatch",), world)
        world = self.sealed()
        world.tenant.leaves[-1], world.tenant.leaves[-2] = world.tenant.leaves[-2], world.tenant.leaves[-1]
        self.assertLessEqual({"checkpoint_mismatch", "verdict_contradiction"}, self.found(world).codes())
        world = self.sealed()
        world.tenant.checkpoint(key=world.tenant.keys["issuer"])
        self.expect(("checkpoint_unreadable",), world)
        world = self.sealed()
        self.expect(("log_unreadable",), world, change=lambda files: files.__setitem__("log.bin", files["log.bin"][:-1]))
        self.expect(("log_unreadable",), world, change=lambda files: files.pop("log.bin"))

    def test_what_entries_quote_is_compared_with_log_and_feed(self):
        for tree, hash_ in (({"size": 12, "root": "ab" * 32}, None), ({"size": 999, "root": "ab" * 32}, None), (None, "ab" * 32)):
            world = World()
            world.quote(world.one, tree, hash_)
            world.tenant.push(world.one, world.one.scans(1))
            found = self.expect(("knew_mismatch",), self.sealed(world))
            self.assertEqual((found.all[0]["station"], found.all[0]["epoch"], found.all[0]["seq"]), (world.one.id, 2, 3))

    def test_two_roots_for_one_size_are_found_in_a_queue_without_the_tree(self):
        world = self.sealed()
        world.quote(world.one, {**world.seen, "root": "ab" * 32})
        world.tenant.push(world.one, world.one.scans(1))
        world.keep(world.one)
        self.expect(("knew_mismatch",), world, "queue", world.one)

    def test_an_honest_restore_is_told_by_the_root_and_a_silent_one_is_found(self):
        for signer, codes in (("root", ()), (None, ("checkpoint_mismatch",))):
            world = self.sealed()
            lost = {"size": len(world.tenant.leaves) + 1, "root": "ab" * 32}
            world.tenant.checkpoint(tree=lost)
            restored = world.tenant.tree()
            if signer:
                world.tenant.event("log.recovered", "lotgate/recovered/v1", signer, restored=restored, known=lost)
            else:
                world.tenant.event("station.retired", "lotgate/retired/v1", station=world.two.id)
            world.tenant.checkpoint(2)
            self.expect(codes, world)

    def test_the_feed_is_one_hash_chain(self):
        world = self.sealed()
        world.tenant.feed[1] = (world.tenant.feed[1][0], b"other\n")
        self.expect(("feed_broken",), world)
        world.tenant.feed[1] = (world.tenant.feed[1][0], b"")
        self.expect((), world)

    def test_the_seal_is_by_the_right_key(self):
        world = self.sealed()
        self.expect(("manifest_unsigned", "certificate_missing"), world, seal_by=world.tenant.keys["log"])
        world.keep(world.one)
        self.expect(("manifest_unsigned", "certificate_missing"), world, "queue", world.one, seal_by=world.two.key)

    def test_a_seal_of_another_manifest_is_found(self):
        with tempfile.TemporaryDirectory() as other:
            world = self.sealed()
            build_export.write(other, world.tenant)
            world.tenant.blobs.append(b"one more")
            self.expect(("manifest_unsigned",), world,
                        after=lambda folder: shutil.copy(os.path.join(other, "manifest.sig"), folder))

    def test_a_sealed_manifest_that_tells_other_ranges_is_found(self):
        world = self.sealed()
        path = f"entries/{world.two.id}/1-1.bin"

        def shorten(files):
            files[path] = b"".join(list(frames.read_frames(io.BytesIO(files[path])))[:-1])
        self.assertIn("range_mismatch", self.found(world, change=shorten).codes())

    def test_blobs_have_the_hash_of_their_name(self):
        self.expect(("blob_changed",), self.sealed(), change=lambda files: files.__setitem__("blobs/" + "ab" * 32, b"x"))


class Program(unittest.TestCase):
    def run_program(self, *arguments):
        return subprocess.run([sys.executable, os.path.join(HERE, "verify.py"), *arguments], capture_output=True, text=True, check=False)

    def test_exit_codes_and_json_lines(self):
        world = World()
        fingerprint = ("--root-fingerprint", world.tenant.fingerprint)
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(self.run_program("export", folder, *fingerprint).returncode, 2)
            build_export.write(folder, world.tenant)
            ended = self.run_program("export", folder, *fingerprint, "--json")
            self.assertEqual(ended.returncode, 1, ended.stderr)
            lines = [json.loads(line) for line in ended.stdout.splitlines()]
            self.assertEqual([set(line) for line in lines], [{"code", "station", "epoch", "seq", "detail"}])
            world.tenant.checkpoint()
            build_export.write(folder, world.tenant)
            ended = self.run_program("export", folder, *fingerprint)
            self.assertEqual((ended.returncode, ended.stdout[:10]), (0, "0 findings"), ended.stdout + ended.stderr)
            with open(os.path.join(folder, "manifest.json"), "ab") as file:
                file.write(b"\n")
            self.assertEqual(self.run_program("export", folder, *fingerprint).returncode, 2)
        self.assertEqual(self.run_program("export").returncode, 2)
        self.assertEqual(self.run_program("vectors").returncode, 0)


if __name__ == "__main__":
    unittest.main()
