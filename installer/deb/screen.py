"""The screen of Xvfb (-fbdir), an XWD file: prints how many colours are on it; writes it as a PNG if one is named."""

import struct
import sys
import zlib

with open(sys.argv[1], "rb") as file:
    xwd = file.read()
header = struct.unpack(">25I", xwd[:100])
size, width, height, bits, line, colours = header[0], header[4], header[5], header[11], header[12], header[19]
assert bits == 32, f"{bits} bits a pixel"
start = size + colours * 12
rows = [xwd[start + y * line : start + y * line + width * 4] for y in range(height)]
print(len({row[x : x + 3] for row in rows for x in range(0, len(row), 4)}))

if len(sys.argv) > 2:
    # Blue, green, red, nothing: red, green, blue, behind the PNG's filter byte of each line.
    lines = b"".join(
        b"\0" + bytes(byte for x in range(0, len(row), 4) for byte in (row[x + 2], row[x + 1], row[x])) for row in rows
    )

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    with open(sys.argv[2], "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b""))
