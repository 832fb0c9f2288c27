"""A reader written from engine/format/README.md alone: the page says all that a reader needs.

It reads the reference pools, and must find what the other implementation finds. It knows nothing of
the sources; where the two disagree, the page is wrong or incomplete. Pools that an activation
refuses or repairs are left out: this is a reader.
"""

import contextlib
import hashlib
import json
import pathlib
import struct
import subprocess
import tempfile
import unittest
import uuid

POOLS = pathlib.Path(__file__).resolve().parent / "pools"
PAGE = 4096
MBLOCK, MLOG = 1, 2
STAGING, CAPACITY = 0, 1
CSTART, CEND = 5, 6


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def text_uuid(raw):
    return str(uuid.UUID(bytes=bytes(raw)))


class Parameters:
    """Device parameters."""

    def __init__(self, raw):
        self.media_class, self.type, shift = struct.unpack_from("<BBB", raw, 0)
        self.uuid = text_uuid(raw[3:19])
        zone_pages, self.zones = struct.unpack_from("<II", raw, 24)
        self.size, self.features = struct.unpack_from("<QQ", raw, 32)
        self.sector, self.zone = 1 << shift, zone_pages * PAGE


class Log:
    """An mlog: where it lies and how its blocks are marked."""

    def __init__(self, layout, generation, magic):
        self.zone_count, self.first_zone = struct.unpack_from("<IQ", layout, 0)
        self.generation = generation
        self.magic = bytes(magic)


class Device:
    """One device of a pool: its file and the superblock that counts."""

    def __init__(self, file):
        self.file = file
        copies = [self.superblock(at) for at in (0, 8192)]
        raw = next(copy for copy in copies if copy)
        self.pool_name = raw[8:40].split(b"\0")[0].decode()
        self.pool_uuid = text_uuid(raw[40:56])
        self.parameters = Parameters(raw[72:120])
        self.mdc0 = []
        for at in (128, 184):
            generations = [struct.unpack_from("<Q", copy, at)[0] for copy in copies if copy]
            self.mdc0.append(Log(raw[at + 40:at + 52], max(generations), raw[at + 8:at + 24]))

    def superblock(self, at):
        raw = self.bytes(at, 288)
        version, _generation, head = struct.unpack_from("<HII", raw, 56)
        good = (raw[:8] == b"mpoolDev" and version == 1 and head == crc32c(raw[:62])
                and struct.unpack_from("<I", raw, 120)[0] == crc32c(raw[72:120]))
        return raw if good else None

    def bytes(self, at, length):
        self.file.seek(at)
        return self.file.read(length)

    def records(self, log):
        """The log's chunks put together: (type, payload). Ends before a record that was torn."""
        sector, capacity = self.parameters.sector, log.zone_count * self.parameters.zone
        expected, found, pending, want = 0, [], None, 0
        for at in range(0, capacity, sector):
            block = self.bytes(log.first_zone * self.parameters.zone + at, sector)
            version, magic, previous, current, generation = struct.unpack_from("<H16s6xIIQ", block, 0)
            if (version, magic, previous, generation) != (1, log.magic, expected, log.generation):
                break
            expected = current
            offset = 40
            while sector - offset >= 8:
                total, length, kind = struct.unpack_from("<IHB", block, offset)
                if kind == 0:
                    assert offset > 40, "a log block without records"
                    break
                payload = block[offset + 8:offset + 8 + length]
                offset += 8 + length
                if kind in (1, CSTART, CEND):
                    found.append((kind, payload))
                    pending = None
                elif kind == 2:
                    pending, want = payload, total
                else:
                    assert pending is not None and total == want, "chunks in the wrong order"
                    pending += payload
                    if kind == 4:
                        assert len(pending) == want
                        found.append((1, pending))
                        pending = None
        return found


class Pool:
    """All that the pool's metadata says."""

    def __init__(self, files):
        devices = [Device(file) for file in files]
        self.devices = {device.parameters.media_class: device for device in devices}
        self.capacity = self.devices[CAPACITY]
        self.name, self.uuid = self.capacity.pool_name, self.capacity.pool_uuid
        self.mdcs = []  # the records of each
        self.objects = {}
        self.logs = {}  # of MDC1..N
        self.label = ""
        self.take(0, self.active_records(self.capacity.mdc0), self.logs)
        number = 1
        while (2 * number + 1) << 12 | MLOG << 8 in self.logs:
            pair = [self.logs[(2 * number + half) << 12 | MLOG << 8][0] for half in (0, 1)]
            self.take(number, self.active_records(pair), self.objects)
            number += 1

    def active_records(self, pair):
        """The data records of the pair's active log: the valid one of the smaller generation."""
        pair = sorted(pair, key=lambda log: log.generation)
        valid = []
        for log in pair:
            records = self.capacity.records(log)
            kinds = [kind for kind, _ in records]
            if not records or (kinds[0] == CSTART and kinds.count(CEND) == 1):
                valid.append(records)
        return [payload for kind, payload in valid[0] if kind == 1]

    def take(self, slot, records, objects):
        self.mdcs.append(records)
        for record in records:
            kind = record[0]
            if kind in (1, 2):
                media_class = record[1]
                number, generation, written = struct.unpack_from("<QQQ", record, 16)
                assert number & 0xFF == slot
                objects[number] = (Log(record[4:16], generation, record[40:56]), media_class, written)
            elif kind == 3:
                del objects[struct.unpack_from("<Q", record, 8)[0]]
            elif kind == 5:
                number, generation = struct.unpack_from("<QQ", record, 8)
                objects[number][0].generation = generation
            elif kind == 9:
                self.label = record[96:160].split(b"\0")[0].decode()

    def log_records(self, number):
        place, media_class, _ = self.objects[number]
        return [payload for kind, payload in self.devices[media_class].records(place) if kind == 1]

    def content(self, number):
        place, media_class, written = self.objects[number]
        device = self.devices[media_class]
        return device.bytes(place.first_zone * device.parameters.zone, written)


def digest_of(records):
    digest = hashlib.sha256()
    for record in records:
        digest.update(struct.pack("<I", len(record)))
        digest.update(record)
    return digest.hexdigest()


class FormatReader(unittest.TestCase):
    def check(self, name):
        """The pool as it is found, and the content of each object."""
        facts = json.loads((POOLS / f"{name}.json").read_text())
        with tempfile.TemporaryDirectory(prefix="mpoolfs-test-") as directory:
            subprocess.run(["tar", "-xSf", POOLS / f"{name}.tar.xz", "-C", directory], check=True)
            with contextlib.ExitStack() as open_files:
                files = [open_files.enter_context(open(pathlib.Path(directory) / image["file"], "rb"))
                         for image in facts["images"]]
                self.compare(Pool(files), facts["expected"]["pool"])

    def compare(self, pool, expected):
        self.assertEqual((pool.name, pool.uuid), (expected["name"], expected["uuid"]))
        for device in expected["devices"]:
            found = pool.devices[CAPACITY if device["mclass"] == "CAPACITY" else STAGING].parameters
            self.assertEqual((found.uuid, found.sector, found.zone, found.zones, found.size),
                             (device["uuid"], device["sector_size"], device["zone_bytes"], device["zonetot"],
                              device["devsz"]))
        if "config" in expected and expected["config"]:
            self.assertEqual(pool.label, expected["config"]["label"])
        self.assertEqual(len(pool.mdcs), len(expected["mdcs"]))
        for found, mdc in zip(pool.mdcs, expected["mdcs"]):
            self.assertEqual((len(found), digest_of(found)), (mdc["nrec"], mdc["sha256"]), f"MDC{mdc['slot']}")
        objects = {int(object["objid"], 16): object for object in expected["objects"]}
        self.assertEqual(sorted(pool.objects), sorted(objects))
        for number, object in objects.items():
            if object["type"] == "mblock":
                content = pool.content(number)
                found = (len(content), hashlib.sha256(content).hexdigest())
                self.assertEqual(found, (object["mblen"], object["sha256"]), object["objid"])
            elif object.get("read_rc") == "OK":
                records = pool.log_records(number)
                found = (len(records), digest_of(records))
                self.assertEqual(found, (object["nrec"], object["sha256"]), object["objid"])


def readable(name):
    activation = json.loads((POOLS / f"{name}.json").read_text())["expected"].get("activate", {})
    return activation.get("rc") == 0 and activation.get("writes") == 0


def load_tests(_loader, _tests, _pattern):
    suite = unittest.TestSuite()
    for path in sorted(POOLS.glob("*.json")):
        if readable(path.stem):
            suite.addTest(unittest.FunctionTestCase(lambda name=path.stem: FormatReader().check(name),
                                                    description=path.stem))
    return suite


if __name__ == "__main__":
    unittest.main(verbosity=2)
