"""Tests of the building stones: signatures, JSON, tree, notes, vectors. Exports are tested in test_export.py."""

import hashlib
import io
import os
import unittest

import build_export
import ed25519
import findings
import frames
import merkle
import shapes
import strict_json
import tenant_log
import vectors
from strict_json import Unreadable

PROJECT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# RFC 8032 7.1: seed, public key, message, signature
RFC_8032 = (
    ("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
     "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
     "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"),
    ("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
     "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
     "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"),
    ("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
     "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
     "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"),
)


class Signatures(unittest.TestCase):
    def test_the_vectors_of_rfc_8032_are_made_and_accepted(self):
        for seed, key, message, signature in RFC_8032:
            seed, key, message, signature = map(bytes.fromhex, (seed, key, message, signature))
            self.assertEqual(ed25519.public_key(seed), key)
            self.assertEqual(ed25519.sign(seed, message), signature)
            self.assertTrue(ed25519.verify(key, message, signature))

    def test_s_is_refused_when_l_is_added(self):
        _, key, message, signature = map(bytes.fromhex, RFC_8032[1])
        s = int.from_bytes(signature[32:], "little") + ed25519.L
        self.assertFalse(ed25519.verify(key, message, signature[:32] + s.to_bytes(32, "little")))

    def test_points_of_small_order_and_other_encodings_are_refused(self):
        identity, order_2, order_4 = (y.to_bytes(32, "little") for y in (1, ed25519.P - 1, 0))
        for encoding in (identity, order_2, order_4):
            self.assertTrue(ed25519.is_small_order(ed25519.decode(encoding)))
            self.assertIsNone(ed25519.minus_key(encoding))
        self.assertFalse(ed25519.is_small_order(ed25519.decode(bytes.fromhex(RFC_8032[0][1]))))
        for number in (ed25519.P, ed25519.P + 1, 1 | 1 << 255, ed25519.P - 1 | 1 << 255):
            self.assertIsNone(ed25519.decode(number.to_bytes(32, "little")), number)

    def test_torsion_added_to_r_is_refused_though_the_cofactored_equation_holds(self):
        seed, message = bytes(32), b"torsion"
        key, (scalar, _) = ed25519.public_key(seed), ed25519.expand(seed)
        point = ed25519.add(ed25519.multiply(ed25519.BASE, 5), ed25519.prepared(ed25519.decode((ed25519.P - 1).to_bytes(32, "little"))))
        r = ed25519.encode(point)
        k = int.from_bytes(hashlib.sha512(r + key + message).digest(), "little") % ed25519.L
        s = (5 + k * scalar) % ed25519.L
        self.assertFalse(ed25519.verify(key, message, r + s.to_bytes(32, "little")))

    def test_every_vector_of_the_project_agrees(self):
        found = findings.Findings()
        figures = vectors.check_vectors(PROJECT, found)
        self.assertEqual(found.all, [])
        self.assertGreaterEqual(figures["ed25519.json"], 86)
        self.assertGreaterEqual(figures["operations.json"], 8)

    def test_a_changed_vector_is_found(self):
        case = {"public_key": RFC_8032[1][1], "message": "73", "signature": RFC_8032[1][3], "valid": True}
        with self.assertRaises(vectors.Differs):
            vectors.signature(case)


class StrictJson(unittest.TestCase):
    def refused(self, text):
        with self.assertRaises(Unreadable, msg=text):
            strict_json.parse(text if isinstance(text, bytes) else text.encode())

    def test_numbers_are_integers_up_to_2_to_the_53(self):
        self.assertEqual(strict_json.parse(b"[-9007199254740991,0,9007199254740991]"), [-(2**53 - 1), 0, 2**53 - 1])
        for text in ("9007199254740992", "-9007199254740992", "1.0", "1e3", "-0", "01", "+1", "NaN", "Infinity", "9" * 5000):
            self.refused(text)

    def test_strings_are_escaped_as_rfc_8785_says_and_no_other_way(self):
        self.assertEqual(strict_json.canonical('\b\t\n\f\r"\\/\x00\x1f\x7f€\u2028'), '"\\b\\t\\n\\f\\r\\"\\\\/\\u0000\\u001f\x7f€\u2028"'.encode())
        for text in ('"\\/"', '"\\u00e9"', '"\\u001F"', '"\\u0009"', '"\\ud800"', '"\\ud83d\\ude00"', '"\n"', b'"\xff"', b'"\xed\xa0\x80"'):
            self.refused(text)

    def test_members_stand_in_utf_16_order(self):
        # RFC 8785 3.2.3: U+1F600 is written with surrogates and so comes before U+FB33.
        names = ["\r", "1", "\x80", "\xf6", "\u20ac", "\U0001f600", "\ufb33"]
        ordered = strict_json.canonical({name: 0 for name in reversed(names)})
        self.assertEqual(list(strict_json.parse(ordered)), names)
        self.refused('{"\ufb33":0,"\U0001f600":0}')

    def test_duplicates_blanks_bom_leftovers_and_depth_are_refused(self):
        for text in ('{"a":1,"a":1}', '{"a" :1}', '{"a":1}\n', '\ufeff{}', '{}{}', '', '{"b":1,"a":2}', "[" * 30_000, b'{"a":1}\x00'):
            self.refused(text)


class Operations(unittest.TestCase):
    def setUp(self):
        self.tenant = build_export.Tenant()
        self.station = build_export.Station(self.tenant, 1)
        self.frame = self.station.open()
        self.text = frames.split(self.frame)[0]

    def changed(self, **members):
        return strict_json.canonical({**strict_json.parse(self.text), **members})

    def test_version_1_has_a_closed_envelope_and_a_later_one_keeps_its_core(self):
        frames.read_operation(self.text)
        frames.read_operation(self.changed(v=2, more=[None], actor=7))
        for members in ({"more": 1}, {"v": 0}, {"v": True}, {"alg": "rsa"}, {"seq": 0}, {"role": "operator"}, {"actor": "me"},
                        {"body": {}}, {"prev": "AB" * 32}, {"epoch": {"n": 1, "id": "00" * 16, "x": 1}}, {"knew": {}},
                        {"v": 2, "key": "short"}):
            with self.assertRaises(Unreadable, msg=members):
                frames.read_operation(self.changed(**members))
        shorter = {name: value for name, value in strict_json.parse(self.text).items() if name != "reason"}
        with self.assertRaises(Unreadable):
            frames.read_operation(strict_json.canonical(shorter))

    def test_times_are_of_the_calendar(self):
        self.assertTrue(shapes.time("2024-02-29T23:59:59.999Z"))
        for text in ("2023-02-29T00:00:00.000Z", "2024-01-01T00:00:00Z", "2024-01-01T00:00:00.000+00:00", "2024-01-01T24:00:00.000Z",
                     "2024-01-01T00:00:00.000Z\n"):
            self.assertFalse(shapes.time(text), text)

    def test_a_frame_is_exact_and_at_most_32_kib(self):
        for frame in (self.frame + b"\0", self.frame[:-1], b"", b"\0\0\0\0"):
            with self.assertRaises(Unreadable):
                frames.split(frame)
        largest = frames.LARGEST_FRAME - 68
        frames.split(largest.to_bytes(4, "big") + bytes(largest + 64))
        with self.assertRaises(Unreadable):
            frames.split((largest + 1).to_bytes(4, "big") + bytes(largest + 65))
        with self.assertRaises(Unreadable):
            list(frames.read_frames(io.BytesIO(self.frame + self.frame[:50])))


class Trees(unittest.TestCase):
    LEAVES = [bytes.fromhex(text) for text in (
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")]

    def plain_root(self, data):
        """RFC 6962 2.1 word for word."""
        if not data:
            return hashlib.sha256(b"").digest()
        if len(data) == 1:
            return merkle.leaf_hash(data[0])
        half = 1
        while half * 2 < len(data):
            half *= 2
        return merkle.node_hash(self.plain_root(data[:half]), self.plain_root(data[half:]))

    def test_roots_of_the_reference_tree(self):
        roots = merkle.roots_at(map(merkle.leaf_hash, self.LEAVES), range(10))
        self.assertEqual(set(roots), set(range(9)))
        self.assertEqual(roots[0].hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        self.assertEqual(roots[1].hex(), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d")
        self.assertEqual(roots[8].hex(), "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328")

    def test_one_pass_gives_what_the_definition_gives(self):
        data = [bytes([number]) for number in range(70)]
        roots = merkle.roots_at(map(merkle.leaf_hash, data), range(71))
        self.assertEqual(roots, {size: self.plain_root(data[:size]) for size in range(71)})


class Checkpoints(unittest.TestCase):
    def setUp(self):
        self.tenant = build_export.Tenant()
        self.tenant.checkpoint()
        self.tenant.checkpoint(2)
        self.keys = [self.tenant.keys["log"].public]

    def read(self, text, keys=None):
        found = findings.Findings()
        checkpoints = tenant_log.read_checkpoints(text.encode(), self.tenant.tenant, keys or self.keys, found)
        return checkpoints, found.codes()

    def test_notes_are_read_and_a_foreign_signature_is_passed_over(self):
        tree = self.tenant.tree()
        text = "\n".join(self.tenant.notes)
        self.assertEqual(self.read(text), ([(1, tree["size"], tree["root"]), (2, tree["size"], tree["root"])], set()))
        self.assertEqual(self.read(text + "\u2014 witness.example AAAA\n")[1], set())

    def test_any_change_of_a_note_is_found(self):
        note = self.tenant.notes[0]
        size = f"\n{self.tenant.tree()['size']}\n"
        for text in (note.replace(size, "\n6\n"), note.replace(size, "\n05\n"), note.replace("/1\n", "/01\n", 1), note[:-10] + "\n",
                     note.replace("\n\n", "\nextra\n\n"), note.replace("\n\n", "\n"), note + note, "\n" + note,
                     note.replace("\u2014", "-"), note.split("\n\n")[0] + "\n\n"):
            self.assertEqual(self.read(text)[1], {"checkpoint_unreadable"}, text)
        self.assertEqual(self.read(note, [self.tenant.keys["statement"].public])[1], {"checkpoint_unreadable"})


if __name__ == "__main__":
    unittest.main()
