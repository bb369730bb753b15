"""Records in every format, as programs write and read them that are not ours: fastavro, protobuf, and a few lines for the rest."""

import io
import json
import struct
import time

import confluent_kafka
import fastavro
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2

# Field numbers of google.protobuf.FieldDescriptorProto.Type.
PROTOBUF_TYPES = {"int64": 3, "string": 9, "message": 11}


# === Avro

def record(name, *fields):
    """The schema of an Avro record: of each field the name, the type, and further attributes."""
    described = [{"name": name, "type": of, **(more[0] if more else {})} for name, of, *more in fields]
    return {"type": "record", "name": name, "namespace": "demo", "fields": described}


def avro(schema, value):
    """A datum as fastavro writes it."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), value)
    return out.getvalue()


def read_avro(schema, datum):
    """What a datum says, by the schema that it was written with; it must end where the datum does."""
    rest = io.BytesIO(datum)
    said = fastavro.schemaless_reader(rest, fastavro.parse_schema(schema), None)
    if rest.read():
        raise AssertionError(f"bytes behind the datum {datum!r}")
    return said


def framed(number, datum, place=b""):
    """The wire format of a registry's formats."""
    return b"\0" + struct.pack(">I", number) + place + datum


def unframed(registry, kind, value):
    """The text of a value's schema, and what follows its number."""
    if value[0] != 0:
        raise AssertionError(f"no zero byte before {value!r}")
    found, schema = registry.schema(struct.unpack(">I", value[1:5])[0])
    if found != kind:
        raise AssertionError(f"a schema in {found}, not in {kind}")
    return schema, value[5:]


# === Protocol Buffers

def varint(number):
    """A number as Protocol Buffers write it."""
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def text_field(number, text):
    """A text in a message."""
    return varint(number << 3 | 2) + varint(len(text.encode())) + text.encode()


def timestamp(ms):
    """A google.protobuf.Timestamp."""
    return b"\x08" + varint(ms // 1000) + b"\x10" + varint(ms % 1000 * 1_000_000)


def message_class(*fields, optional=()):
    """A class of messages with these fields, numbered from 1, of int64, string, or a message `google.protobuf.Timestamp`."""
    file = descriptor_pb2.FileDescriptorProto(name="out.proto", syntax="proto3", dependency=["google/protobuf/timestamp.proto"])
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    out = file.message_type.add(name="Out")
    for number, (name, of) in enumerate(fields, 1):
        field = out.field.add(name=name, number=number, type=PROTOBUF_TYPES[of], label=1)
        if of == "message":
            field.type_name = ".google.protobuf.Timestamp"
        if name in optional:
            field.proto3_optional, field.oneof_index = True, len(out.oneof_decl)
            out.oneof_decl.add(name=f"_{name}")
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("Out"))


# === Comma-separated values

def csv_cells(line, delimiter=","):
    """The cells of a row; an empty one is None unless it is quoted."""
    cells, at = [], 0
    while at <= len(line):
        if line[at:at + 1] == '"':
            text, at = "", at + 1
            while True:
                end = line.index('"', at)
                text, at = text + line[at:end], end + 1
                if line[at:at + 1] != '"':
                    break
                text, at = text + '"', at + 1
            cells.append(text)
        else:
            end = line.find(delimiter, at)
            end = len(line) if end < 0 else end
            cells.append(line[at:end] or None)
            at = end
        if line[at:at + 1] not in ("", delimiter):
            raise AssertionError(f"no row of values: {line!r}")
        at += 1
    return cells


def csv_line(cells, delimiter=","):
    """A row of cells; None is an empty one, and an empty text is quoted."""
    quoted = lambda text: '"' + text.replace('"', '""') + '"'  # noqa: E731
    special = lambda text: text == "" or any(c in text for c in f'"\r\n{delimiter}')  # noqa: E731
    return delimiter.join("" if c is None else quoted(c) if special(c) else c for c in cells).encode()


# === Topics

class Committed:
    """Reads what is committed in topics, as it is."""

    def __init__(self, brokers):
        self.consumer = confluent_kafka.Consumer({
            "bootstrap.servers": brokers, "group.id": f"reader-{time.time_ns()}", "isolation.level": "read_committed",
            "enable.partition.eof": True, "fetch.wait.max.ms": 20, "allow.auto.create.topics": False})

    def read(self, topic):
        """The records of a topic, by partition and offset."""
        partitions = self.consumer.list_topics(topic, timeout=30).topics[topic].partitions
        self.consumer.assign([confluent_kafka.TopicPartition(topic, p, 0) for p in partitions])
        found, open_partitions = [], set(partitions)
        while open_partitions:
            message = self.consumer.poll(30)
            if message is None:
                raise AssertionError(f"topic {topic}: nothing came in 30 s")
            if message.error() is None:
                found.append(message)
            elif message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF:
                open_partitions.discard(message.partition())
            elif message.error().code() != confluent_kafka.KafkaError._ALL_BROKERS_DOWN:
                raise AssertionError(f"topic {topic}: {message.error()}")
        return sorted(found, key=lambda m: (m.partition(), m.offset()))

    def close(self, keep=False):
        """Closes the connection."""
        del keep
        self.consumer.close()
